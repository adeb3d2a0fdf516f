"""What every passage means, in memory: one matrix of all vectors, and which passages are nearest to a question.

The search is exact: the product of the matrix with the question's vector, in a thread. Each worker has the matrix, about 7 MB for 1,000
passages at 1,536 dimensions. It is loaded when the server has started, and again when passages have got or lost vectors. Whether they
have is asked after a question, seldom, and by nobody who waits for an answer: until then, what is there is used, and a passage that has
gone or changed meanwhile is left out.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.catalogue import Event, Field, declare
from pipeline.context import note
from pipeline.log import log
from server.store import vectors
from server.store.engine import Store, StoreUnavailable
from server.store.vectors import digest_of

from .passages import Passage
from .retrieval import passage_of

Numbers = NDArray[np.float32]

declare(
    [
        Event(
            "embeddings_missing",
            "WARNING",
            "The server has started, and passages have no vector of the present model: only their words find them.",
            {
                "passages": Field("how many"),
                "model": Field("the model's name"),
                "fix": Field("what to do"),
            },
        )
    ]
)

LOOK_SECONDS = 3.0
"""How often it is asked at most whether passages have got or lost vectors."""
PATIENT_LOOKS = 20
"""And how many times as long as loading took: an ingest changes them all the time."""
LOADING_SECONDS = 0.5
"""How long a question waits for the matrix after a start."""
PAGE = 500
"""How many vectors are loaded at a time, so that nobody waits for long in between."""

FIX = "Run: python -m server ingest PATH"


class Near(NamedTuple):
    """A passage, and the cosine of its vector and the question's."""

    passage: Passage
    cosine: float


@dataclass(frozen=True, slots=True)
class Matrix:
    """A row for each passage: the number of the passage, the digest of its vector, and the vector itself."""

    numbers: Sequence[int]
    digests: Sequence[str]
    rows: Numbers

    def cosines(self, vector: Numbers) -> Numbers:
        """Of each row with `vector`; both have length 1."""
        cosines: Numbers = self.rows @ vector
        return np.minimum(cosines, np.float32(1))  # rounding may lead just beyond

    @staticmethod
    def largest(cosines: Numbers) -> float:
        """The largest of `cosines` that is a number, as the log tells it."""
        return round(float(np.fmax.reduce(cosines, initial=np.float32(-1))), 3)

    @staticmethod
    def best(cosines: Numbers, least: float, limit: int) -> list[int]:
        """The `limit` rows with the largest of `cosines`, from `least` on, the largest first."""
        near = np.flatnonzero(cosines >= least)
        order = np.argsort(-cosines[near], kind="stable")[:limit]
        return [int(row) for row in near[order]]


class Vectors:
    """The vectors of the passages in `store` that `model` made. To be used in one event loop, in which `watch` runs.

    `report` is told of bugs, and of a matrix that is too large for the memory. One that `tells` says in the log how many passages have no
    vector when it has first looked.
    """

    def __init__(
        self,
        store: Store,
        model: str,
        *,
        report: Callable[[Exception], None] = lambda _: None,
        tells: bool = True,
    ) -> None:
        self._store = store
        self._model = model
        self._report = report
        self._tells = tells
        self._matrix: Matrix | None = None
        self._by_digest: dict[str, int] = {}
        self._stamp: tuple[int, ...] | None = None
        self._loaded = asyncio.Event()
        self._asked = asyncio.Event()

    async def watch(self) -> None:
        """Load the matrix, and after questions see whether it has to be loaded again; until cancelled."""
        while True:
            began = perf_counter()
            try:
                await self.refresh()
            except StoreUnavailable:
                pass  # The store has told; what is there is used.
            except Exception as error:
                self._report(error)
            await asyncio.sleep(max(LOOK_SECONDS, PATIENT_LOOKS * (perf_counter() - began)))
            await self._asked.wait()
            self._asked.clear()

    async def refresh(self) -> None:
        """Load the matrix if passages have got or lost vectors. Raises ``StoreUnavailable``."""
        stamp = await vectors.stamp(self._store)
        if stamp != self._stamp:
            matrix = await self._load(stamp[0])
            self._matrix = matrix
            self._by_digest = {} if matrix is None else {name: row for row, name in enumerate(matrix.digests)}
            self._stamp = stamp
        self._loaded.set()
        if self._tells:
            self._tells = False
            if passages := await vectors.missing(self._store, self._model):
                log.warning("embeddings_missing", passages=passages, model=self._model, fix=FIX)

    async def dimensions(self) -> int | None:
        """How many numbers each vector has; None when there is none, or not in time."""
        self._asked.set()
        if not self._loaded.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._loaded.wait(), LOADING_SECONDS)
        return None if self._matrix is None else self._matrix.rows.shape[1]

    async def nearest(
        self, vector: Numbers, least: float, limit: int, candidates: Sequence[Passage]
    ) -> list[Near]:
        """The `limit` passages nearest to `vector`, with a cosine from `least` on; and those of `candidates` that have a vector.

        The nearest first; the event of the request tells the cosine of the nearest of all. Raises ``StoreUnavailable``.
        """
        matrix, by_digest = self._matrix, self._by_digest
        if matrix is None or matrix.rows.shape[1] != vector.size:
            return []
        cosines = await asyncio.to_thread(matrix.cosines, vector)
        note(nearest=matrix.largest(cosines))
        best = matrix.best(cosines, least, limit)
        there = {matrix.numbers[row]: matrix.digests[row] for row in best}
        found = await vectors.passages_of(self._store, there) if best else {}
        # A passage that has gone or changed since the matrix was loaded is not found.
        near = [
            Near(passage_of(found[number]), float(cosines[row]))
            for row in best
            if (number := matrix.numbers[row]) in found
        ]
        names = {one.passage.id for one in near}
        for candidate in candidates:
            place = by_digest.get(digest_of(self._model, candidate.heading, candidate.text))
            if place is not None and candidate.id not in names:
                near.append(Near(candidate, float(cosines[place])))
        return sorted(near, key=lambda one: -one.cosine)

    async def _load(self, count: int) -> Matrix | None:
        """The vectors of at most `count` passages; None when there is none."""
        numbers: list[int] = []
        digests: list[str] = []
        rows: Numbers | None = None
        after = 0
        while page := await vectors.stored(self._store, self._model, after, PAGE):
            after = page[-1].passage_id
            if rows is None:
                rows = np.empty((count, len(page[0].vector) // 4), np.float32)
            # What has another size is of another model under this name, and what is beyond `count` came just now.
            whole = [one for one in page if len(one.vector) == 4 * rows.shape[1]][: count - len(numbers)]
            place = slice(len(numbers), len(numbers) + len(whole))
            joined = np.frombuffer(b"".join(one.vector for one in whole), "<f4")
            rows[place] = joined.reshape(len(whole), rows.shape[1])
            numbers += [one.passage_id for one in whole]
            digests += [one.digest for one in whole]
        return None if rows is None else Matrix(numbers, digests, rows[: len(numbers)])
