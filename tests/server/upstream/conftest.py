"""An endpoint for each test, and a model that is asked there."""

import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from server.upstream.breaker import LONGEST_OPEN_SECONDS, Breaker, Tolerance
from server.upstream.endpoint import Model
from server.upstream.llm import LLM
from server.upstream.patience import Patience
from tests.model_endpoint import ModelEndpoint, serving

KEY = "sk-not-for-the-log-4f8a2c"

Make = Callable[..., LLM]


@pytest.fixture
def endpoint() -> Iterator[ModelEndpoint]:
    with serving() as one:
        yield one


def waited_out(breaker: Breaker) -> None:
    """Its time is over: a probe may go through."""
    breaker._clock = lambda: time.monotonic() + LONGEST_OPEN_SECONDS


@pytest.fixture
async def make(endpoint: ModelEndpoint) -> AsyncIterator[Make]:
    """Makes models: `patience` in seconds (to connect, first token, between, in all)."""
    made: list[LLM] = []

    def one(url: str = "", failures: int = 5, open_seconds: float = 0.2, **patience: float) -> LLM:
        model = Model(url or endpoint.url, "test-model", KEY, 300)
        made.append(LLM(model, Patience(**patience), Tolerance(failures, open_seconds)))
        return made[-1]

    yield one
    for llm in made:
        await llm.close()
