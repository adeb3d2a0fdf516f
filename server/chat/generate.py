"""An answer that a language model writes from the passages, and what is told when it does not.

The passages are chosen as without a model (`extract`), so the sources are known before the model is asked, and hold for whichever
of the two answers in the end. While nothing of the model's text has been shown, a failure, an open circuit breaker or a spent budget
costs the visitor nothing but the model's words: the passages are told instead, marked degraded. After that the answer breaks off, and
says so. When the documents hold nothing, no model is asked: it could only make something up.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from server.upstream.failures import CIRCUIT_OPEN, LLMBadResponse, LLMFailure
from server.upstream.llm import LLM
from server.upstream.stream import LENGTH

from .answer import BrokeOff, Cited, Earlier, NotHeld, Piece, Sanitised, Spent, StandIn, Text
from .budget import Budget
from .extract import MODEL, NO_ANSWER, Draft, drafted
from .models import Question
from .passages import Passage
from .prompt import estimated_tokens, length, messages
from .sanitise import Sanitiser

CUT = " …"
"""What an answer ends with that was longer than it may be."""


@dataclass(slots=True)
class _Bill:
    """What one answer has cost so far."""

    conversation: str | None
    tokens: int = 0


class GenerativeAnswerer:
    """Answers in a language model's words."""

    def __init__(self, llm: LLM, budget: Budget) -> None:
        self.model = llm.model.name
        self._llm = llm
        self._budget = budget

    async def answer(
        self,
        question: Question,
        passages: Sequence[Passage],
        history: Sequence[Earlier] = (),
        conversation: str | None = None,
    ) -> AsyncGenerator[Piece]:
        """See `Answerer`; `history` is the conversation so far, and `conversation` what its tokens are counted under.

        Raises ``BrokeOff`` after the first `Text`.
        """
        draft = drafted(question, passages)
        if draft is None:
            yield Cited(())
            yield StandIn(MODEL)
            yield Text(NO_ANSWER)
            return
        yield Cited(draft.sources())
        if (spent := await self._budget.spent(conversation)) is not None:
            for piece in self._instead(draft, f"budget_{spent}"):
                yield piece
            return
        bill = _Bill(conversation)
        begun = False
        try:
            async with aclosing(self._written(question, draft, history, bill)) as pieces:
                async for piece in pieces:
                    begun = begun or isinstance(piece, Text)
                    yield piece
        except LLMFailure as failure:
            why = "llm_circuit_open" if failure.status == CIRCUIT_OPEN else f"llm_{failure.name}"
            instead = self._instead(draft, why, bill.tokens)
            if begun:
                raise BrokeOff(instead) from failure
            for piece in instead:
                yield piece

    def _instead(self, draft: Draft, why: str, tokens: int = 0) -> list[Piece]:
        """The passages, told as they stand, after so many tokens that did not help."""
        self._llm.tally.degraded += 1
        return [Spent(tokens), StandIn(MODEL, why), *(Text(text) for text in draft.told())]

    async def _written(
        self, question: Question, draft: Draft, history: Sequence[Earlier], bill: _Bill
    ) -> AsyncGenerator[Piece]:
        """What the model writes, made harmless. Raises ``LLMFailure``; what it was paid for stands on the `bill`."""
        told = messages(question, draft.cited(), history)
        sanitiser = Sanitiser(draft.sources())
        characters, finish, written = length(told), "", ""
        with self._budget.reserved(estimated_tokens(characters) + self._llm.model.max_tokens):
            try:
                async with aclosing(self._llm.answer(told)) as pieces:
                    async for piece in pieces:
                        characters += len(piece.text)
                        # Until it says how many they were; one that never does, or breaks off, was paid for all the same.
                        bill.tokens = estimated_tokens(characters) if piece.tokens is None else piece.tokens
                        finish = piece.finish
                        text = sanitiser.feed(piece.text)
                        # While there is only white space, nothing has been shown, and all can still be taken back.
                        if text := text if written else text.lstrip():
                            written += text
                            yield Text(text)
            finally:
                self._llm.tally.tokens += bill.tokens
                self._budget.spend(bill.tokens, bill.conversation)
        rest = sanitiser.finish() + (CUT if finish == LENGTH else "")
        if not written and not rest.strip():
            raise LLMBadResponse("EMPTY")
        if rest:
            yield Text(rest)
        if (written + rest).strip() == NO_ANSWER:
            yield NotHeld()
        yield Spent(bill.tokens)
        yield Sanitised(sanitiser.removed)
