"""Asked for vectors: a question once and in time, passages with patience; what came is remembered, what failed is told."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from pipeline.context import Request, bound
from server.upstream import embeddings as module
from server.upstream.breaker import Tolerance
from server.upstream.embeddings import Embeddings
from server.upstream.endpoint import Model
from server.upstream.failures import CIRCUIT_OPEN, LLMFailure
from tests.embedding_endpoint import DIMENSIONS, answers, body, breaks_off, changed, embeds, meaning
from tests.harness import free_port
from tests.model_endpoint import (
    UPSTREAM_ID,
    Behaviour,
    ModelEndpoint,
    compressed,
    hangs_up,
    page,
    redirects,
    refuses,
    stalls,
)
from tests.reading_log import events
from tests.waiting import ENOUGH_SECONDS

from .conftest import KEY, waited_out

Make = Callable[..., Embeddings]
QUESTION = "How do I get my money back?"


@pytest.fixture
async def embedding(endpoint: ModelEndpoint) -> AsyncIterator[Make]:
    """Makes models that embed; a question is waited for `seconds`."""
    made: list[Embeddings] = []
    endpoint.embeds = embeds()

    def one(
        url: str = "", seconds: float = ENOUGH_SECONDS, failures: int = 50, open_seconds: float = 0.2
    ) -> Embeddings:
        model = Model(url or endpoint.url, "test-embedding", KEY)
        made.append(Embeddings(model, seconds, Tolerance(failures, open_seconds)))
        return made[-1]

    yield one
    for embeddings in made:
        await embeddings.close()


async def failed(embeddings: Embeddings) -> tuple[str, str, list[dict[str, Any]]]:
    """How a question's call failed, and what the log says."""
    with events() as logged, pytest.raises(LLMFailure) as failure:
        await embeddings.of_question(QUESTION, DIMENSIONS)
    assert KEY not in str(logged)
    return failure.value.name, failure.value.status, logged


async def test_a_questions_vector_is_the_models_and_near_to_what_means_the_like(embedding: Make) -> None:
    embeddings = embedding()
    vector = await embeddings.of_question(QUESTION, DIMENSIONS)
    refunds, soccer = (
        await embeddings.of_passages(["We refund what was paid.", "Soccer is played on Mondays."])
    ).vectors
    assert vector @ refunds > 0.6
    assert vector @ soccer < 0.2


async def test_the_request_carries_the_key_in_one_header_and_the_requests_id(
    embedding: Make, endpoint: ModelEndpoint
) -> None:
    with bound(Request("visitor-1")) as request:
        await embedding().of_question(QUESTION, DIMENSIONS)
    (asked,) = endpoint.asked
    assert asked.path == "/v1/embeddings"
    assert asked.body == {"model": "test-embedding", "input": [QUESTION], "encoding_format": "float"}
    assert asked.headers["X-Request-ID"] == "visitor-1"
    assert [name for name, value in asked.headers.items() if KEY in value] == ["Authorization"]
    assert request.canonical["embedding_ms"] > 0


@pytest.mark.parametrize(
    ("behaviour", "failure", "status"),
    [
        (stalls(), "timeout", "TOTAL_TIMEOUT"),
        (embeds(seconds=60), "timeout", "TOTAL_TIMEOUT"),
        (refuses(401), "unavailable", "HTTP_401"),
        (refuses(429, Retry_After="30"), "unavailable", "HTTP_429"),
        (refuses(500), "unavailable", "HTTP_500"),
        (refuses(503), "unavailable", "HTTP_503"),
        (redirects("http://127.0.0.1:1/"), "bad_response", "REDIRECT"),
        (page(), "bad_response", "NOT_JSON"),
        (compressed("x"), "bad_response", "NOT_JSON"),
        (hangs_up(), "unavailable", "DISCONNECTED"),
        (breaks_off(), "cut_off", "CUT_OFF"),
        (answers(b"<html>"), "bad_response", "BAD_JSON"),
        (answers(b" " * (16 << 20)), "bad_response", "TOO_MUCH"),
        (answers(b'{"error": {"message": "sk-secret", "code": "quota"}}'), "bad_response", "ERROR_OBJECT"),
        (changed(lambda told: told["data"].pop()), "bad_response", "WRONG_COUNT"),
        (changed(lambda told: told["data"][0]["embedding"].pop()), "bad_response", "WRONG_DIMENSIONS"),
        (embeds(lambda _: [float("nan")] * DIMENSIONS), "bad_response", "BAD_JSON"),
        (embeds(lambda _: [0.0] * DIMENSIONS), "bad_response", "BAD_VECTOR"),
    ],
)  # fmt: skip
async def test_a_questions_failure_is_one_of_the_family_asked_once_and_told_once(
    embedding: Make, endpoint: ModelEndpoint, behaviour: Behaviour, failure: str, status: str
) -> None:
    endpoint.embeds = behaviour
    embeddings = embedding(seconds=0.5) if status == "TOTAL_TIMEOUT" else embedding()
    name, told, logged = await failed(embeddings)
    assert (name, told) == (failure, status)
    assert len(endpoint.asked) == 1
    (call,) = [line for line in logged if line["event"] == "dependency_call"]
    assert (call["dependency"], call["operation"], call["outcome"]) == (
        "embeddings",
        "embed_question",
        "failed",
    )
    assert (call["failure"], call["status"], call["retries"]) == (failure, status, 0)
    assert call.get("upstream_request_id") in {None, UPSTREAM_ID}
    assert (embeddings.tally.calls, embeddings.tally.failures) == (1, 1)
    endpoint.embeds = embeds()
    assert (await embeddings.of_question(QUESTION, DIMENSIONS)).size == DIMENSIONS


async def test_it_is_unknown_how_the_model_is_until_it_has_answered(
    embedding: Make, endpoint: ModelEndpoint
) -> None:
    embeddings = embedding(failures=1, open_seconds=60)
    states = [embeddings.state]
    await embeddings.of_question(QUESTION, DIMENSIONS)
    states.append(embeddings.state)
    endpoint.embeds = refuses(500)
    await failed(embeddings)
    states.append(embeddings.state)
    assert states == ["unknown", "connected", "disconnected"]


async def test_nobody_there_is_told_as_such(embedding: Make) -> None:
    name, status, _ = await failed(embedding(f"http://127.0.0.1:{free_port()}/v1"))
    assert (name, status) == ("unavailable", "CONNECT_FAILED")


async def test_a_slow_vector_is_taken_and_told(
    embedding: Make, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.05)
    endpoint.embeds = embeds(seconds=0.1)
    with events() as logged:
        await embedding(seconds=5).of_question(QUESTION, DIMENSIONS)
    (call,) = logged
    assert (call["event"], call["outcome"], call["upstream_request_id"]) == (
        "dependency_call",
        "slow",
        UPSTREAM_ID,
    )


async def test_what_was_asked_lately_is_remembered_and_counted(
    embedding: Make, endpoint: ModelEndpoint
) -> None:
    embeddings = embedding()
    assert embeddings.remembered(QUESTION, DIMENSIONS) is None
    vector = await embeddings.of_question(QUESTION, DIMENSIONS)
    known = embeddings.remembered(QUESTION, DIMENSIONS)
    assert known is not None
    assert np.array_equal(known, vector)
    # A vector that does not fit those of the passages any more is none.
    assert embeddings.remembered(QUESTION, DIMENSIONS + 1) is None
    assert embeddings.remembered(QUESTION + "!", DIMENSIONS) is None
    assert (embeddings.tally.hits, embeddings.tally.misses) == (1, 3)
    assert len(endpoint.asked) == 1


async def test_what_is_remembered_is_bounded_and_the_longest_unasked_goes_first(
    embedding: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    embeddings = embedding()
    for question in ("one", "two"):
        await embeddings.of_question(question, DIMENSIONS)
    assert embeddings.remembered("one", DIMENSIONS) is not None
    await embeddings.of_question("three", DIMENSIONS)
    assert [
        embeddings.remembered(question, DIMENSIONS) is not None for question in ("one", "two", "three")
    ] == [
        True,
        False,
        True,
    ]


async def test_the_breaker_opens_after_failures_and_lets_a_probe_through(
    embedding: Make, endpoint: ModelEndpoint
) -> None:
    embeddings = embedding(failures=3, open_seconds=60)
    endpoint.embeds = refuses(500)
    for _ in range(3):
        await failed(embeddings)
    assert embeddings.figures()["embedding_open"] is True
    name, status, logged = await failed(embeddings)
    assert (name, status, logged) == ("unavailable", CIRCUIT_OPEN, [])
    assert len(endpoint.asked) == 3
    endpoint.embeds = embeds()
    waited_out(embeddings.breaker)
    assert (await embeddings.of_question(QUESTION, DIMENSIONS)).size
    assert embeddings.figures()["embedding_open"] is False


async def test_a_question_that_is_refused_for_what_it_is_closes_nobody_out(
    embedding: Make, endpoint: ModelEndpoint
) -> None:
    embeddings = embedding(failures=1)
    endpoint.embeds = refuses(400)
    await failed(embeddings)
    assert embeddings.breaker.state == "closed"


async def test_passages_are_asked_for_again_after_what_passes(
    embedding: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.then(refuses(503), refuses(429, Retry_After="0"))
    with events() as logged:
        vectors, tokens = await embedding().of_passages(["one", "two"])
    assert (len(vectors), tokens, len(endpoint.asked)) == (2, 14, 3)
    (call,) = logged
    assert (call["operation"], call["outcome"], call["status"], call["retries"]) == (
        "embed_passages",
        "retried",
        "HTTP_429",
        2,
    )


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (refuses(401), "HTTP_401"),
        (refuses(500), "HTTP_500"),
        (refuses(429, Retry_After="3600"), "HTTP_429"),
        (answers(b"{}"), "BAD_JSON"),
        (changed(lambda told: told["data"].reverse() or told["data"].pop()), "WRONG_COUNT"),
    ],
)
async def test_passages_are_not_asked_for_again_where_that_would_not_help(
    embedding: Make, endpoint: ModelEndpoint, behaviour: Behaviour, status: str
) -> None:
    endpoint.embeds = behaviour
    with events() as logged, pytest.raises(LLMFailure) as failure:
        await embedding().of_passages(["one", "two"])
    assert failure.value.status == status
    assert len(endpoint.asked) == 1
    (call,) = logged
    assert (call["operation"], call["outcome"]) == ("embed_passages", "failed")


async def test_vectors_in_any_order_find_their_passages(embedding: Make, endpoint: ModelEndpoint) -> None:
    endpoint.embeds = changed(lambda told: told["data"].reverse())
    first, second = (await embedding().of_passages(["walrus", "badger"])).vectors
    assert np.argmax(first) == np.argmax(meaning("walrus"))
    assert np.argmax(second) == np.argmax(meaning("badger"))


def test_the_stand_in_answers_as_the_format_says() -> None:
    assert [item["index"] for item in body(["a", "b"])["data"]] == [0, 1]
