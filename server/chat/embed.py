"""Every passage gets the vector of what it means, with each ingest; what has one already costs nothing.

Passages are asked for some at a time, and kept as they come: whatever ends it, the next run goes on from there. Until then, and for
passages that have no vector, words alone decide what is found.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.clock import Clock
from server.store import vectors
from server.store.engine import Store
from server.store.vectors import Part, digest_of
from server.upstream.embeddings import Embeddings
from server.upstream.failures import LLMBadResponse, LLMFailure

from .words import printable

declare(
    [
        Event(
            "passages_embedded",
            "INFO",
            "Every passage has a vector of the present model.",
            {
                "embedded": Field("how many texts the model was asked for"),
                "reused": Field("how many passages got a vector that was there already"),
                "tokens": Field("what that took, as the model counted; 0 where it does not count"),
                "model": Field("the model's name"),
                "duration_ms": Field("milliseconds in all"),
            },
        ),
        Event(
            "passages_not_embedded",
            "WARNING",
            "Some passages have no vector of the present model, because that failed. The documents are stored and are found by their words.",
            {
                "embedded": Field("how many texts the model was asked for, until then"),
                "reused": Field("how many passages got a vector that was there already"),
                "left": Field("how many passages have none"),
                "tokens": Field("what that took, as the model counted"),
                "model": Field("the model's name"),
                "failure": Field("`timeout`, `unavailable`, `bad_response` or `cut_off`"),
                "status": Field("the log's word for how, as in `dependency_call`"),
                "fix": Field("what to do"),
                "duration_ms": Field("milliseconds in all"),
            },
        ),
    ]
)

PAGE = 256
"""How many passages are looked at together."""
BATCH = 32
"""How many texts are asked for together: what Hugging Face's server takes at most, unless it is told otherwise."""
CHARACTERS = 2_000
"""Of a text; no passage has more, with its headings."""
SHORTEST = 250
"""Characters; a text that is refused is not made shorter than this."""

_STORED = "The documents are stored, and found by their words."
_AGAIN = "Run the same command again to go on."
_AGAIN_AFTER_ANEW = "Run it again without --embed-anew to go on."

_FIXES = {
    "HTTP_401": "The key is refused: set EMBEDDING_API_KEY.",
    "HTTP_403": "The key is refused: set EMBEDDING_API_KEY.",
    "HTTP_404": "The model or the address is not known there: EMBEDDING_MODEL, EMBEDDING_BASE_URL.",
    "HTTP_429": "Too much for the account there, just now or at all.",
}
_ANOTHER = "Another model answers under this name than did before. To begin anew: python -m server ingest --embed-anew PATH"
_OTHERWISE = "Does the endpoint answer, and is EMBEDDING_BASE_URL right?"
_REFUSED = "The endpoint does not take what it is sent: EMBEDDING_MODEL, EMBEDDING_BASE_URL."


@dataclass(frozen=True, slots=True)
class Embedding:
    """So many of the passages that had no vector, `done` of `total`, have one now."""

    done: int
    total: int


@dataclass(slots=True)
class Report:
    """What was done: texts that were asked for, passages that got a vector which was there, tokens; if it failed, why, and what to do."""

    embedded: int = 0
    reused: int = 0
    tokens: int = 0
    left: int = 0
    status: str = ""
    fix: str = ""


async def embed(
    store: Store,
    embeddings: Embeddings,
    clock: Clock,
    *,
    anew: bool = False,
    on_progress: Callable[[Embedding], None] = lambda _: None,
) -> Report:
    """Give every passage in `store` that has none a vector of the present model; with `anew` every passage.

    A model that fails is told in the report. Raises ``StoreUnavailable``.
    """
    started = perf_counter()
    model = embeddings.model.name
    if anew:
        await vectors.forget(store, model)
    run = _Run(store, embeddings, clock, on_progress)
    failed: LLMFailure | None = None
    try:
        await run.all()
        await vectors.prune(store)
    except LLMFailure as failure:
        failed = failure
    report = run.report
    told = {
        "embedded": report.embedded,
        "reused": report.reused,
        "tokens": report.tokens,
        "model": model,
        "duration_ms": round((perf_counter() - started) * 1e3, 3),
    }
    if failed is None:
        log.info("passages_embedded", **told)
        return report
    report.left = await vectors.missing(store, model)
    report.status, report.fix = failed.status, _fix(failed, anew=anew)
    log.warning(
        "passages_not_embedded",
        **told,
        left=report.left,
        failure=failed.name,
        status=failed.status,
        fix=report.fix,
    )
    return report


def _fix(failure: LLMFailure, *, anew: bool) -> str:
    if failure.status == "WRONG_DIMENSIONS":
        return f"{_STORED} {_ANOTHER}"
    what = _FIXES.get(failure.status, _REFUSED if failure.ours else _OTHERWISE)
    return f"{what} {_STORED} {_AGAIN_AFTER_ANEW if anew else _AGAIN}"


class _Run:
    """One run: what is missing, and what has been done."""

    def __init__(
        self, store: Store, embeddings: Embeddings, clock: Clock, on_progress: Callable[[Embedding], None]
    ) -> None:
        self._store = store
        self._embeddings = embeddings
        self._model = embeddings.model.name
        self._clock = clock
        self._tell = on_progress
        self._dimensions: int | None = None
        self._done = self._total = 0
        self.report = Report()

    async def all(self) -> None:
        self._dimensions = await vectors.dimensions(self._store, self._model)
        self._total = await vectors.missing(self._store, self._model)
        after = 0
        while parts := await vectors.without(self._store, self._model, after, PAGE):
            after = parts[-1].id
            await self._some(parts)

    async def _some(self, parts: Sequence[Part]) -> None:
        same: dict[str, list[Part]] = defaultdict(list)
        for part in parts:
            same[digest_of(self._model, part.heading, part.text)].append(part)
        known = await vectors.known(self._store, same)
        if known:
            reused = [part for digest in known for part in same[digest]]
            await self._keep(reused, {})
            self.report.reused += len(reused)
        new = [digest for digest in same if digest not in known]
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            made = await self._made([_text(same[digest][0]) for digest in batch])
            given = [part for digest in batch for part in same[digest]]
            await self._keep(given, dict(zip(batch, made, strict=True)))
            self.report.embedded += len(batch)
            self.report.reused += len(given) - len(batch)

    async def _keep(self, parts: Sequence[Part], made: dict[str, bytes]) -> None:
        await vectors.keep(self._store, self._model, parts, made, self._clock())
        self._done += len(parts)
        self._tell(Embedding(self._done, max(self._done, self._total)))

    async def _made(self, texts: Sequence[str]) -> list[bytes]:
        """The vectors of `texts`, as they are kept. What is refused for what it is, is asked for in parts, or shortened."""
        try:
            made, tokens = await self._embeddings.of_passages(texts)
        except LLMFailure as failure:
            if not failure.ours or (len(texts) == 1 and len(texts[0]) <= SHORTEST):
                raise
        else:
            # All of a model's vectors are of one size, or none could be held against the others.
            self._dimensions = self._dimensions or made.shape[1]
            if made.shape[1] != self._dimensions:
                raise LLMBadResponse("WRONG_DIMENSIONS")
            self.report.tokens += tokens or 0
            return [row.astype("<f4").tobytes() for row in made]
        if len(texts) == 1:
            return await self._made([texts[0][: len(texts[0]) // 2]])
        half = len(texts) // 2
        return [*await self._made(texts[:half]), *await self._made(texts[half:])]


def _text(part: Part) -> str:
    """What is embedded of a passage: its headings say what it is about."""
    return printable(f"{part.heading}\n{part.text}")[:CHARACTERS]
