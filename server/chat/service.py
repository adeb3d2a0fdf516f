"""From a question to an answer: find the passages, make the answer, say what it took. Knows no HTTP."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter

from pipeline.catalogue import Event, Field, declare
from pipeline.context import note
from pipeline.log import log

from .answer import Answerer, BrokeOff, Cited, Earlier, NotHeld, Recalled, Sanitised, Spent, StandIn, Text
from .answer import Piece as Made
from .models import Metadata, Question, Source
from .passages import Passage
from .retrieval import Retriever

declare(
    [
        Event(
            "question_answered",
            "INFO",
            "An answer was made, whole. What was asked and said is nobody's business and not in the log.",
            {
                "answered": Field(
                    "whether the documents held it; false when the answer says that they do not"
                ),
                "sources": Field("how many passages it cites"),
                "passages": Field("how many passages were found"),
                "top_score": Field("the best passage's score, 0-1"),
                "model": Field("what wrote it: `extractive`, or the name of a language model"),
                "degraded": Field(
                    "why passages were told instead of a language model's answer: `llm_timeout`, `llm_unavailable`, `llm_bad_response`, "
                    "`llm_cut_off`, `llm_circuit_open`, `budget_day` or `budget_conversation`; null when they were not"
                ),
                "recalled": Field(
                    "whether the language model had written it before, and was not asked again"
                ),
                "tokens": Field("what a language model was paid for, as it counted or as estimated"),
                "removed": Field(
                    "how many links, images, tags and markers were taken from what a language model wrote; many hint at a document that "
                    "gives orders"
                ),
                "mode": Field("`browse` or `chat`"),
                "selection": Field("whether the visitor had marked text on the page"),
                "retrieval_ms": Field("finding the passages, milliseconds"),
                "generation_ms": Field("making the answer, milliseconds"),
            },
        )
    ]
)

PASSAGES = 12
"""How many passages an answer is chosen from; at most five of them are cited."""

SELECTION_SEARCHED = 500
"""How many characters of a marked text are searched for when the question itself says nothing."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is whole."""

    metadata: Metadata


Piece = Cited | Text | Finished
"""What is told of an answer: `Cited` once and first, `Text`…, and `Finished` once and last."""


@dataclass(slots=True)
class _Making:
    """An answer in the making: what its event and its metadata will say; `seconds` is the answerer's time."""

    model: str
    sources: tuple[Source, ...] = ()
    held: bool = True
    degraded: str = ""
    recalled: bool = False
    tokens: int = 0
    removed: int = 0
    seconds: float = 0.0

    def hear(self, piece: Made) -> None:
        """Take note of what `piece` says."""
        match piece:
            case Cited():
                self.sources = piece.sources
            case StandIn():
                self.model, self.degraded = piece.model, piece.degraded
            case Spent():
                self.tokens += piece.tokens
            case Sanitised():
                self.removed += piece.removed
            case Recalled():
                self.recalled = True
            case NotHeld():
                self.held = False
            case Text():
                pass


class Chat:
    """Answers questions from the documents."""

    def __init__(self, retriever: Retriever, answerer: Answerer) -> None:
        self._retriever = retriever
        self._answerer = answerer

    @property
    def model(self) -> str:
        """What writes the answers."""
        return self._answerer.model

    async def stream(
        self,
        question: Question,
        history: Sequence[Earlier] = (),
        conversation: str | None = None,
        shown: Callable[[], bool] = lambda: True,
    ) -> AsyncGenerator[Piece | StandIn]:
        """The answer as it is made; `history` is what was said before in its `conversation`.

        While nothing of it has been `shown`, a model that breaks off costs nothing but its words: a `StandIn` begins anew. Raises
        ``StoreUnavailable`` before the first piece, and ``BrokeOff`` after it.
        """
        started = perf_counter()
        passages = await self._passages(question)
        retrieval_ms = round((perf_counter() - started) * 1e3, 3)
        note(retrieval_ms=retrieval_ms)

        making = _Making(self._answerer.model)
        answer = self._answerer.answer(question, passages, history, conversation)
        async with aclosing(self._made(answer, making, shown)) as pieces:
            async for piece in pieces:
                yield piece

        generation_ms = round(making.seconds * 1e3, 3)
        note(generation_ms=generation_ms)
        # After the last piece: an answer that nobody waited for was not given.
        log.info(
            "question_answered",
            answered=bool(making.sources) and making.held,
            sources=len(making.sources),
            passages=len(passages),
            top_score=round(passages[0].score, 4) if passages else 0.0,
            model=making.model,
            degraded=making.degraded or None,
            recalled=making.recalled,
            tokens=making.tokens,
            removed=making.removed,
            mode=question.mode.value,
            selection=bool(question.selected_text),
            retrieval_ms=retrieval_ms,
            generation_ms=generation_ms,
        )
        yield Finished(
            Metadata(
                model=making.model,
                tokens_used=making.tokens,
                degraded=bool(making.degraded),
                retrieval_time_ms=retrieval_ms,
                generation_time_ms=generation_ms,
                total_time_ms=round((perf_counter() - started) * 1e3, 3),
            )
        )

    async def _made(
        self, answer: AsyncGenerator[Made], making: _Making, shown: Callable[[], bool]
    ) -> AsyncGenerator[Cited | Text | StandIn]:
        """The pieces that concern the visitor; `making` hears of all."""
        async with aclosing(self._heard(answer, making, shown)) as pieces:
            async for piece in pieces:
                making.hear(piece)
                if isinstance(piece, (Cited, Text, StandIn)):
                    yield piece

    async def _heard(
        self, answer: AsyncGenerator[Made], making: _Making, shown: Callable[[], bool]
    ) -> AsyncGenerator[Made]:
        """What the answerer yields, and where it breaks off and nothing has been `shown`, what is told instead."""
        instead: Sequence[Made] = ()
        async with aclosing(answer) as pieces:
            try:
                while True:
                    asked = perf_counter()
                    try:
                        piece = await anext(pieces, None)
                    finally:
                        making.seconds += perf_counter() - asked
                    if piece is None:
                        return
                    yield piece
            except BrokeOff as broken:
                if shown():
                    raise
                instead = broken.instead
        for piece in instead:
            yield piece

    async def _passages(self, question: Question) -> Sequence[Passage]:
        """What bears on the question; on the marked text when the question itself says nothing ("what is this?")."""
        passages = await self._retriever.search(question.message, PASSAGES)
        if not passages and question.selected_text:
            passages = await self._retriever.search(question.selected_text[:SELECTION_SEARCHED], PASSAGES)
        return passages
