"""A model behind OpenAI's HTTP interface that turns texts into vectors, near each other where the texts mean the like.

A question is asked once and not waited for longer than a visitor would, because it can be answered without; what was asked lately is
remembered. Passages are asked for with patience, and again where that may help. The circuit breaker sees questions only: an ingest is
another process.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from cachetools import LRUCache

from pipeline.context import measure
from server.dependencies import State, tell_of_state

from .breaker import Breaker, Tolerance
from .completions import BadPiece
from .embedded import BYTES_A_VECTOR, Embedded, parsed, request_body
from .endpoint import EMBEDDINGS, Endpoint, Model
from .failures import CIRCUIT_OPEN, LLMBadResponse, LLMCutOff, LLMFailure, LLMUnavailable
from .patience import Call, Patience
from .retries import wait_before
from .telling import milliseconds, state_of, tell, tell_failed

if TYPE_CHECKING:
    import aiohttp
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

NAME = "embeddings"

CONNECT_SECONDS = 5.0
INGEST_SECONDS = 120.0
"""How long the vectors of some passages may take; a model without a graphics card may need half a minute."""
INGEST_RETRIES = 4
INGEST_LONGEST_SECONDS = 60.0
"""An upstream that wants to be left alone for longer than this ends an ingest, which can be gone on with later."""
SLOW_SECONDS = 1.0
"""A question's vector that takes longer is worth an event."""
REMEMBERED = 1_000
"""How many questions' vectors a process keeps: 6 MB of 1,536 dimensions."""
ANSWER_BYTES = 64 << 10
"""What an answer may have beside its vectors."""


@dataclass(slots=True)
class Tally:
    """What a process has asked of the model so far, and for how many questions it need not ask (`hits`) or had to (`misses`)."""

    calls: int = 0
    failures: int = 0
    hits: int = 0
    misses: int = 0


class Embeddings:
    """One model. Nothing is connected before the first call; to be used in one event loop, and closed there.

    `seconds` is how long a question's vector is waited for.
    """

    def __init__(self, model: Model, seconds: float, tolerance: Tolerance) -> None:
        self.model = model
        self.seconds = seconds
        self.tally = Tally()
        self.breaker = Breaker(tolerance, changed=partial(tell_of_state, NAME))
        self._endpoint = Endpoint(model, EMBEDDINGS, min(seconds, CONNECT_SECONDS))
        # By the question alone: an `Embeddings` has one model for life.
        self._remembered: LRUCache[str, Vector] = LRUCache(REMEMBERED)

    @property
    def state(self) -> State:
        """How it is, as far as this process knows."""
        return state_of(self.breaker)

    def figures(self) -> Mapping[str, float]:
        """What this process publishes of the model, by the names of `pipeline.figures.file.PUBLISHED`."""
        tally = self.tally
        return {
            "embedding_calls": tally.calls,
            "embedding_failures": tally.failures,
            "embedding_cache_hits": tally.hits,
            "embedding_cache_misses": tally.misses,
            "embedding_open": self.breaker.state != "closed",
        }

    async def close(self) -> None:
        """Let every connection go."""
        await self._endpoint.close()

    def remembered(self, question: str, dimensions: int) -> "Vector | None":
        """The vector of a question that was asked lately, if it has so many `dimensions`; counted."""
        vector = self._remembered.get(question)
        if vector is None or vector.size != dimensions:
            self.tally.misses += 1
            return None
        self.tally.hits += 1
        return vector

    async def of_question(self, question: str, dimensions: int) -> "Vector":
        """The vector of `question`, which must be printable, asked for once.

        Raises ``LLMFailure``, also when it has not so many `dimensions`; at once while the breaker is open.
        """
        attempt = self.breaker.admit()
        if attempt is None:
            raise LLMUnavailable(CIRCUIT_OPEN)
        call = Call(_within(self.seconds))
        self.tally.calls += 1
        with attempt:
            try:
                vector: Vector = (await self._asked(call, [question])).vectors[0]
                if vector.size != dimensions:
                    raise LLMBadResponse("WRONG_DIMENSIONS")
            except LLMFailure as failure:
                self.tally.failures += 1
                if not failure.ours:
                    attempt.failed(failure.status, failure.retry_after or 0.0)
                tell_failed(NAME, "embed_question", call, failure)
                raise
            finally:
                measure(embedding_ms=milliseconds(call.waited))
            attempt.succeeded()
        if call.waited > SLOW_SECONDS:
            tell(NAME, "embed_question", call, "slow", None)
        self._remembered[question] = vector
        return vector

    async def of_passages(self, texts: Sequence[str]) -> Embedded:
        """The vectors of `texts`, which must be printable; asked for again after what may have passed. Raises ``LLMFailure``."""
        call = Call(_within(INGEST_SECONDS))
        while True:
            self.tally.calls += 1
            try:
                embedded = await self._asked(call, texts)
            except LLMFailure as failure:
                self.tally.failures += 1
                seconds = wait_before(
                    failure, call.retries, most=INGEST_RETRIES, longest=INGEST_LONGEST_SECONDS
                )
                if seconds is None:
                    tell_failed(NAME, "embed_passages", call, failure)
                    raise
                call.failed_with = failure.status
            else:
                if call.retries:
                    tell(NAME, "embed_passages", call, "retried", call.failed_with)
                return embedded
            await asyncio.sleep(seconds)
            call.retries += 1

    async def _asked(self, call: Call, texts: Sequence[str]) -> Embedded:
        response = await call.wait(self._endpoint.post(call, request_body(self.model.name, texts)))
        try:
            body = await call.wait(_read(response, ANSWER_BYTES + BYTES_A_VECTOR * len(texts)))
        finally:
            response.close()  # Of one that was read to its end, nothing is left to close.
        try:
            return parsed(body, len(texts))
        except BadPiece as bad:
            raise LLMBadResponse(bad.status, code=bad.code) from None


def _within(seconds: float) -> Patience:
    """For an answer that comes whole there is one bound."""
    return Patience(connect=min(seconds, CONNECT_SECONDS), first_token=inf, between_tokens=inf, total=seconds)


async def _read(response: "aiohttp.ClientResponse", most: int) -> bytes:
    """The body, of at most so many bytes."""
    import aiohttp

    body = bytearray()
    try:
        while more := await response.content.readany():
            body += more
            if len(body) > most:
                raise LLMBadResponse("TOO_MUCH")
    except aiohttp.ClientError:
        raise LLMCutOff("CUT_OFF") from None
    return bytes(body)
