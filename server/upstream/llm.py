"""A language model behind OpenAI's HTTP interface: an answer, piece by piece, or one failure of the family.

Every wait has a bound (`patience`). A call is made again only before its first token, and only where nothing can have been begun: no
connection, or a status that says "not now". The circuit breaker sees each call once, however often it was made. The request's ID goes
out with the call, the upstream's own comes back into the log.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipeline.context import measure, note
from server.dependencies import State, tell_of_state

from .breaker import Attempt, Breaker, Tolerance
from .completions import Message, Piece, request_body
from .endpoint import CHAT_COMPLETIONS, Endpoint, Model
from .failures import CIRCUIT_OPEN, LLMFailure, LLMUnavailable
from .memory import Memory
from .patience import Call, Patience
from .retries import wait_before
from .stream import pieces
from .telling import milliseconds, state_of, tell, tell_failed

if TYPE_CHECKING:
    import aiohttp

NAME = "llm"
OPERATION = "chat_completion"

SLOW_SECONDS = 10.0
"""A first token that takes longer is worth an event."""


@dataclass(slots=True)
class Tally:
    """What a process has asked of the model so far, and how many answers it should have written and did not, or not to their end."""

    calls: int = 0
    failures: int = 0
    retries: int = 0
    tokens: int = 0
    degraded: int = 0


class LLM:
    """One model. Nothing is connected before the first call; to be used in one event loop, and closed there.

    `memory` is for who asks it: to look there first, and to keep there what was worth telling.
    """

    def __init__(
        self, model: Model, patience: Patience, tolerance: Tolerance, memory: Memory | None = None
    ) -> None:
        self.model = model
        self.memory = Memory(0, 0) if memory is None else memory
        self.tally = Tally()
        self.breaker = Breaker(tolerance, changed=partial(tell_of_state, NAME))
        self._patience = patience
        self._endpoint = Endpoint(model, CHAT_COMPLETIONS, patience.connect)

    @property
    def state(self) -> State:
        """How it is, as far as this process knows."""
        return state_of(self.breaker)

    def figures(self) -> Mapping[str, float]:
        """What this process publishes of the model, by the names of `pipeline.figures.file.PUBLISHED`."""
        tally = self.tally
        return {
            "llm_calls": tally.calls,
            "llm_failures": tally.failures,
            "llm_retries": tally.retries,
            "llm_tokens": tally.tokens,
            "llm_degraded": tally.degraded,
            "llm_cache_hits": self.memory.hits,
            "llm_cache_misses": self.memory.misses,
            "llm_open": self.breaker.state != "closed",
        }

    async def close(self) -> None:
        """Let every connection go."""
        await self._endpoint.close()

    async def answer(self, messages: Sequence[Message]) -> AsyncGenerator[Piece]:
        """What the model says to `messages`: pieces with text, and one more with the end's reason and the tokens, if told.

        Raises ``LLMFailure``. To be closed when nobody listens any more, which closes the connection, so that the model stops, too.
        """
        attempt = self.breaker.admit()
        if attempt is None:
            raise LLMUnavailable(CIRCUIT_OPEN)
        call = Call(self._patience)
        self.tally.calls += 1
        with attempt:
            try:
                async with aclosing(self._asked(call, attempt, messages)) as answer:
                    async for piece in answer:
                        yield piece
            except LLMFailure as failure:
                self.tally.failures += 1
                if not failure.ours:
                    attempt.failed(failure.status, failure.retry_after or 0.0)
                tell_failed(NAME, OPERATION, call, failure)
                raise
            else:
                attempt.succeeded()
                _tell_ended(call)
            finally:
                _note(call)

    async def _asked(
        self, call: Call, attempt: Attempt, messages: Sequence[Message]
    ) -> AsyncGenerator[Piece]:
        response = await self._opened(call, request_body(self.model.name, messages, self.model.max_tokens))
        begun = False
        try:
            async with aclosing(pieces(call, response)) as answer:
                async for piece in answer:
                    if not begun:
                        attempt.answered()
                        begun = True
                    yield piece
        finally:
            response.close()  # Of one that was read to its end, nothing is left to close.

    async def _opened(self, call: Call, body: bytes) -> "aiohttp.ClientResponse":
        """A response that is about to stream; the call is made again where that is safe and there is time."""
        while True:
            try:
                return await call.wait(self._endpoint.post(call, body))
            except LLMFailure as failure:
                seconds = wait_before(failure, call.retries)
                if seconds is None or call.waited + seconds >= self._patience.to_begin:
                    raise
                call.failed_with = failure.status
            await call.wait(asyncio.sleep(seconds))
            call.retries += 1
            self.tally.retries += 1


def _tell_ended(call: Call) -> None:
    if call.retries:
        tell(NAME, OPERATION, call, "retried", call.failed_with)
    elif (call.first_token or 0.0) > SLOW_SECONDS:
        tell(NAME, OPERATION, call, "slow", None)


def _note(call: Call) -> None:
    """What the request's own event says of the call."""
    measure(llm_ms=milliseconds(call.waited), llm_retries=call.retries)
    if call.first_token is not None:
        note(llm_first_token_ms=milliseconds(call.first_token))
    if call.upstream_request_id is not None:
        note(upstream_request_id=call.upstream_request_id)
