"""From a question to an answer: find the passages, make the answer, say what it took. Knows no HTTP."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter

from pipeline.catalogue import Event, Field, declare
from pipeline.context import note
from pipeline.log import log

from .answer import Answerer, Cited, Spent, Text
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
"""What a turn yields: `Cited` once and first, `Text`…, and `Finished` once and last."""


class Chat:
    """Answers questions from the documents."""

    def __init__(self, retriever: Retriever, answerer: Answerer) -> None:
        self._retriever = retriever
        self._answerer = answerer

    @property
    def model(self) -> str:
        """What writes the answers."""
        return self._answerer.model

    async def stream(self, question: Question) -> AsyncGenerator[Piece]:
        """The answer as it is made. Raises ``StoreUnavailable``, before the first piece."""
        started = perf_counter()
        passages = await self._passages(question)
        retrieval_ms = round((perf_counter() - started) * 1e3, 3)
        note(retrieval_ms=retrieval_ms)

        sources: tuple[Source, ...] = ()
        tokens = 0
        generation_ms = 0.0
        async with aclosing(self._answerer.answer(question, passages)) as pieces:
            while True:
                # What the client takes to read a piece is not the answerer's time.
                asked = perf_counter()
                piece = await anext(pieces, None)
                generation_ms += (perf_counter() - asked) * 1e3
                match piece:
                    case None:
                        break
                    case Spent():
                        tokens += piece.tokens
                    case Cited():
                        sources = piece.sources
                        yield piece
                    case Text():
                        yield piece

        generation_ms = round(generation_ms, 3)
        note(generation_ms=generation_ms)
        # After the last piece: an answer that nobody waited for was not given.
        log.info(
            "question_answered",
            answered=bool(sources),
            sources=len(sources),
            passages=len(passages),
            top_score=round(passages[0].score, 4) if passages else 0.0,
            model=self._answerer.model,
            mode=question.mode.value,
            selection=bool(question.selected_text),
            retrieval_ms=retrieval_ms,
            generation_ms=generation_ms,
        )
        yield Finished(
            Metadata(
                model=self._answerer.model,
                tokens_used=tokens,
                retrieval_time_ms=retrieval_ms,
                generation_time_ms=generation_ms,
                total_time_ms=round((perf_counter() - started) * 1e3, 3),
            )
        )

    async def _passages(self, question: Question) -> Sequence[Passage]:
        """What bears on the question; on the marked text when the question itself says nothing ("what is this?")."""
        passages = await self._retriever.search(question.message, PASSAGES)
        if not passages and question.selected_text:
            passages = await self._retriever.search(question.selected_text[:SELECTION_SEARCHED], PASSAGES)
        return passages
