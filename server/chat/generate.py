"""An answer that a language model writes from the passages, and what is told when it does not.

The passages are chosen as without a model (`extract`), so the sources are known before the model is asked, and hold for whichever
of the two answers in the end. While nothing of the model's text has been shown, a failure, an open circuit breaker or a spent budget
costs the visitor nothing but the model's words: the passages are told instead, marked degraded. After that the answer breaks off, and
says so. When the documents hold nothing, no model is asked: it could only make something up. Nor is it where it has answered before what it
would be told now: that costs nothing, whatever has become of the model or the budget.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from server.upstream.completions import Message
from server.upstream.completions import Piece as Words
from server.upstream.failures import CIRCUIT_OPEN, LLMBadResponse, LLMFailure
from server.upstream.llm import LLM
from server.upstream.stream import LENGTH, STOP

from .answer import BrokeOff, Cited, Earlier, NotHeld, Piece, Recalled, Sanitised, Spent, StandIn, Text
from .budget import Budget
from .extract import MODEL, NO_ANSWER, Draft, drafted
from .models import Question
from .passages import Passage
from .prompt import estimated_tokens, length, messages
from .sanitise import Sanitiser

CUT = " …"
"""What an answer ends with that was longer than it may be."""


@dataclass(slots=True)
class _Call:
    """What the model was told, what it has said so far, why it ended, and what it was paid for."""

    told: Sequence[Message]
    conversation: str | None
    text: str = ""
    finish: str = ""
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
        told = messages(question, draft.cited(), history)
        known = self._llm.memory.recall(told)
        if known is None and (spent := await self._budget.spent(conversation)) is not None:
            for piece in self._instead(draft, f"budget_{spent}"):
                yield piece
            return
        call = _Call(told, conversation)
        words = self._asked(call) if known is None else _again(known)
        begun = False
        try:
            async with aclosing(_harmless(words, draft)) as pieces:
                async for piece in pieces:
                    begun = begun or isinstance(piece, Text)
                    yield piece
            yield Spent(call.tokens) if known is None else Recalled()
            if call.finish == STOP:
                self._llm.memory.keep(told, call.text)
        except LLMFailure as failure:
            why = "llm_circuit_open" if failure.status == CIRCUIT_OPEN else f"llm_{failure.name}"
            instead = self._instead(draft, why, call.tokens)
            if begun:
                raise BrokeOff(instead) from failure
            for piece in instead:
                yield piece

    def _instead(self, draft: Draft, why: str, tokens: int = 0) -> list[Piece]:
        """The passages, told as they stand, after so many tokens that did not help."""
        self._llm.tally.degraded += 1
        return [Spent(tokens), StandIn(MODEL, why), *(Text(text) for text in draft.told())]

    async def _asked(self, call: _Call) -> AsyncGenerator[Words]:
        """What the model says, which stands in the `call` too. Raises ``LLMFailure``."""
        characters = length(call.told)
        with self._budget.reserved(
            estimated_tokens(characters) + self._llm.model.max_tokens, call.conversation
        ):
            try:
                async with aclosing(self._llm.answer(call.told)) as pieces:
                    async for piece in pieces:
                        characters += len(piece.text)
                        # Until it says how many they were; one that never does, or breaks off, was paid for all the same.
                        call.tokens = estimated_tokens(characters) if piece.tokens is None else piece.tokens
                        call.text, call.finish = call.text + piece.text, piece.finish
                        yield piece
            finally:
                self._llm.tally.tokens += call.tokens
                self._budget.spend(call.tokens, call.conversation)


async def _again(known: str) -> AsyncGenerator[Words]:
    """What the model said before."""
    yield Words(known)
    yield Words(finish=STOP)


async def _harmless(words: AsyncGenerator[Words], draft: Draft) -> AsyncGenerator[Piece]:
    """What a model says, fit to be shown. Raises ``LLMFailure``."""
    sanitiser = Sanitiser(draft.sources())
    finish, written = "", ""
    async with aclosing(words) as pieces:
        async for piece in pieces:
            finish = piece.finish
            text = sanitiser.feed(piece.text)
            # While there is only white space, nothing has been shown, and all can still be taken back.
            if text := text if written else text.lstrip():
                written += text
                yield Text(text)
    rest = sanitiser.finish() + (CUT if finish == LENGTH else "")
    if not written and not rest.strip():
        raise LLMBadResponse("EMPTY")
    if rest:
        yield Text(rest)
    if (written + rest).strip() == NO_ANSWER:
        yield NotHeld()
    yield Sanitised(sanitiser.removed)
