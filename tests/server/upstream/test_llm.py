"""One call to a model: what comes back, what the log says of it, and how often the endpoint was really asked."""

import asyncio
import gc
from contextlib import aclosing, suppress
from typing import Any

import pytest

from pipeline.context import Request, bound
from server.upstream.completions import Message
from server.upstream.failures import LLMFailure
from server.upstream.llm import LLM
from server.upstream.stream import ANSWER_CHARACTERS
from tests.harness import free_port
from tests.model_endpoint import (
    END,
    UPSTREAM_ID,
    Behaviour,
    ModelEndpoint,
    compressed,
    delta,
    endless,
    event,
    finish,
    half_an_answer,
    hangs_up,
    never_accepting,
    page,
    redirects,
    refuses,
    says,
    sends,
    stalls,
    stalls_after,
    usage,
)
from tests.reading_log import events
from tests.waiting import soon, undisturbed

from .conftest import KEY, Make, waited_out

STILL_HERE: list[bytes | float] = [b": still here\n\n", 0.05] * 40
MESSAGES: list[Message] = [{"role": "user", "content": "How do I overtake?"}]


async def told(llm: LLM) -> tuple[str, str, int | None]:
    """The text of an answer, why it ends, and the tokens."""
    async with aclosing(llm.answer(MESSAGES)) as pieces:
        found = [piece async for piece in pieces]
    return "".join(piece.text for piece in found), found[-1].finish, found[-1].tokens


class Failed:
    """How a call failed: the failure's name and status, the text that came before, and what the log says."""

    def __init__(self, failure: LLMFailure, text: str, logged: list[dict[str, Any]]) -> None:
        self.name, self.status, self.text = failure.name, failure.status, text
        self.calls = [line for line in logged if line["event"] == "dependency_call"]
        self.logged = logged


async def failed(llm: LLM) -> Failed:
    text = ""
    with events() as logged:
        try:
            async with aclosing(llm.answer(MESSAGES)) as pieces:
                async for piece in pieces:
                    text += piece.text
        except LLMFailure as failure:
            return Failed(failure, text, logged)
    raise AssertionError(f"it did not fail: {text}")


async def test_an_answer_comes_piece_by_piece_with_its_tokens(make: Make, endpoint: ModelEndpoint) -> None:
    endpoint.usually = says("The bell must be rung.", seconds=0.05)
    llm = make()
    async with aclosing(llm.answer(MESSAGES)) as pieces:
        found = [piece async for piece in pieces]
    assert [piece.text for piece in found[:3]] == ["The", " bell", " must"]


async def test_what_has_come_by_the_time_somebody_looks_is_one_piece(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = sends(delta("The") + delta(" bell") + finish() + usage() + END)
    llm = make()
    async with aclosing(llm.answer(MESSAGES)) as pieces:
        found = [piece async for piece in pieces]
    assert [piece.text for piece in found] == ["The bell", ""]
    assert (found[-1].finish, found[-1].tokens) == ("stop", 42)
    assert (llm.tally.calls, llm.tally.failures, llm.state) == (1, 0, "connected")


async def test_the_endpoint_is_told_the_model_the_key_and_the_request(
    make: Make, endpoint: ModelEndpoint
) -> None:
    with bound(Request("visitor-1")) as request, events() as logged:
        await told(make())
    (asked,) = endpoint.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.body["model"] == "test-model"
    assert asked.messages == MESSAGES
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["X-Request-ID"] == "visitor-1"
    assert request.canonical["upstream_request_id"] == UPSTREAM_ID
    assert 0 < request.canonical["llm_first_token_ms"] <= request.canonical["llm_ms"]
    assert logged == []


@pytest.mark.parametrize(
    ("behaviour", "answer"),
    [
        (says("Ring twice."), ("Ring twice.", "stop", 42)),
        (says("Ring.", total="many"), ("Ring.", "stop", None)),
        (compressed("Ring."), ("Ring.", "stop", 42)),
        (sends(delta("Ring."), finish()), ("Ring.", "stop", None)),
        (sends(delta("Ring."), END), ("Ring.", "stop", None)),
        (sends(delta("Ring"), finish("length"), usage(), END), ("Ring", "length", 42)),
        (
            sends(b": hello\r\n\r\n" + delta("Ring.").replace(b"\n", b"\r\n"), finish(), END),
            ("Ring.", "stop", None),
        ),
        (sends(*(bytes([byte]) for byte in delta("Ring.") + finish() + END)), ("Ring.", "stop", None)),
        (sends(delta("Ring."), finish(), END, delta(" And more.")), ("Ring.", "stop", None)),
    ],
    ids=[
        "well",
        "odd usage",
        "gzip",
        "no done",
        "no reason",
        "cut by its bound",
        "CR LF",
        "byte by byte",
        "after done",
    ],
)
async def test_what_is_an_answer(
    make: Make, endpoint: ModelEndpoint, behaviour: Behaviour, answer: tuple[str, str, int | None]
) -> None:
    endpoint.usually = behaviour
    assert await told(make()) == answer


@pytest.mark.parametrize(
    ("behaviour", "name", "status", "times"),
    [
        (refuses(500), "unavailable", "HTTP_500", 1),
        (refuses(503), "unavailable", "HTTP_503", 3),
        (refuses(502), "unavailable", "HTTP_502", 3),
        (refuses(429, Retry_After="0"), "unavailable", "HTTP_429", 3),
        (refuses(429, Retry_After="120"), "unavailable", "HTTP_429", 1),
        (refuses(401), "unavailable", "HTTP_401", 1),
        (refuses(404), "unavailable", "HTTP_404", 1),
        (refuses(400), "unavailable", "HTTP_400", 1),
        (page(), "bad_response", "NOT_A_STREAM", 1),
        (page(502), "unavailable", "HTTP_502", 3),
        (redirects("http://127.0.0.1:1/elsewhere"), "bad_response", "REDIRECT", 1),
        (sends(b"data: {broken\n\n"), "bad_response", "BAD_JSON", 1),
        (sends(b"data: []\n\n"), "bad_response", "BAD_JSON", 1),
        (sends(b"data: \xff\xfe\n\n"), "bad_response", "BAD_JSON", 1),
        (sends(b"<html>" * 60_000), "bad_response", "EVENT_TOO_LONG", 1),
        (sends(event({"error": {"code": "overloaded"}})), "bad_response", "ERROR_OBJECT", 1),
        (sends(finish(), END), "bad_response", "EMPTY", 1),
        (sends(), "cut_off", "CUT_OFF", 1),
        (sends(b"data: {}", close=True), "cut_off", "CUT_OFF", 1),
        (hangs_up(), "unavailable", "DISCONNECTED", 1),
        (stalls(), "timeout", "FIRST_TOKEN_TIMEOUT", 1),
        (sends(*STILL_HERE), "timeout", "FIRST_TOKEN_TIMEOUT", 1),
    ],
)
async def test_how_it_can_fail_before_the_first_token_and_how_often_it_is_asked(
    make: Make, endpoint: ModelEndpoint, behaviour: Behaviour, name: str, status: str, times: int
) -> None:
    endpoint.usually = behaviour
    llm = make(first_token=1.5) if name == "timeout" else make()
    how = await failed(llm)
    assert (how.name, how.status, how.text) == (name, status, "")
    assert len(endpoint.asked) == times
    (line,) = how.calls
    assert (line["dependency"], line["operation"], line["outcome"]) == ("llm", "chat_completion", "failed")
    assert (line["failure"], line["status"], line["retries"]) == (name, status, times - 1)
    assert (llm.tally.calls, llm.tally.failures, llm.tally.retries) == (1, 1, times - 1)


@pytest.mark.parametrize(
    ("behaviour", "name", "status"),
    [
        (half_an_answer(), "cut_off", "CUT_OFF"),
        (sends(delta("The bell must be ")), "cut_off", "CUT_OFF"),
        (stalls_after(delta("The bell must be ")), "timeout", "BETWEEN_TOKENS_TIMEOUT"),
        (
            sends(delta("The bell must be "), *STILL_HERE),
            "timeout",
            "BETWEEN_TOKENS_TIMEOUT",
        ),
        (
            sends(delta("The bell must be "), event({"error": {"code": "overloaded"}})),
            "bad_response",
            "ERROR_OBJECT",
        ),
        (sends(delta("The bell must be "), b"data: {broken\n\n"), "bad_response", "BAD_JSON"),
    ],
)
async def test_after_the_first_token_nothing_is_asked_again(
    make: Make, endpoint: ModelEndpoint, behaviour: Behaviour, name: str, status: str
) -> None:
    endpoint.usually = behaviour
    how = await failed(make(between_tokens=0.5) if name == "timeout" else make())
    assert (how.name, how.status, how.text) == (name, status, "The bell must be ")
    assert len(endpoint.asked) == 1
    assert how.calls[0]["upstream_request_id"] == UPSTREAM_ID


async def test_an_answer_that_takes_too_long_in_all_ends(make: Make, endpoint: ModelEndpoint) -> None:
    endpoint.usually = says("word " * 100, seconds=0.05)
    how = await failed(make(total=0.6))
    assert how.status == "TOTAL_TIMEOUT"
    assert how.text.startswith("word word")


async def test_a_model_that_is_slow_but_steady_is_waited_for(make: Make, endpoint: ModelEndpoint) -> None:
    endpoint.usually = says("word " * 20, seconds=0.06)

    async def attempt() -> None:
        llm = make(between_tokens=0.6)
        with suppress(LLMFailure):
            await told(llm)
        assert llm.tally.failures == 0

    await undisturbed(attempt)


async def test_what_a_visitor_takes_to_read_is_not_the_models_time(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = says("one two three")

    async def read() -> None:
        llm = make(first_token=1.0, between_tokens=0.3, total=1.0)
        with suppress(LLMFailure):
            async with aclosing(llm.answer(MESSAGES)) as pieces:
                async for _ in pieces:
                    await asyncio.sleep(0.4)
        assert llm.tally.failures == 0

    await undisturbed(read)


async def test_nobody_listens_at_the_address(make: Make) -> None:
    llm = make(f"http://127.0.0.1:{free_port()}/v1")
    how = await failed(llm)
    assert (how.name, how.status, llm.tally.retries) == ("unavailable", "CONNECT_FAILED", 2)


async def test_an_endpoint_that_never_accepts_is_given_up_in_time(make: Make) -> None:
    with never_accepting() as url:
        how = await failed(make(url, connect=0.2, first_token=60.0))
    assert (how.name, how.status) == ("timeout", "CONNECT_TIMEOUT")


async def test_a_name_that_does_not_exist_is_a_failure_like_any_other(make: Make) -> None:
    how = await failed(make("http://model.invalid/v1", connect=2.0))
    assert how.status in {"CONNECT_FAILED", "CONNECT_TIMEOUT", "FIRST_TOKEN_TIMEOUT"}


async def test_a_call_that_went_well_after_all_is_told_of(make: Make, endpoint: ModelEndpoint) -> None:
    endpoint.then(refuses(503), refuses(503))
    llm = make()
    with events() as logged:
        assert (await told(llm))[1] == "stop"
    (line,) = logged
    assert (line["outcome"], line["status"], line["retries"]) == ("retried", "HTTP_503", 2)
    assert (llm.tally.calls, llm.tally.failures, llm.tally.retries) == (1, 0, 2)


async def test_no_answer_is_endless(make: Make, endpoint: ModelEndpoint) -> None:
    endpoint.usually = endless()
    text, reason, _ = await told(make())
    assert (len(text), reason) == (ANSWER_CHARACTERS, "length")


async def test_when_nobody_listens_any_more_the_connection_is_closed(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = says("word " * 1000, seconds=0.02)
    async with aclosing(make().answer(MESSAGES)) as pieces:
        await anext(pieces)
    await soon(lambda: endpoint.left)
    assert endpoint.left == 1


async def test_the_breaker_opens_leaves_the_endpoint_alone_and_closes_again(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = refuses(500)
    llm = make(failures=3, open_seconds=60)
    with events() as logged:
        for _ in range(3):
            await _try(llm)
        assert llm.state == "disconnected"
        with pytest.raises(LLMFailure) as refused:
            await told(llm)
        assert refused.value.status == "CIRCUIT_OPEN"
        assert len(endpoint.asked) == 3
        endpoint.usually = says("Well again.")
        waited_out(llm.breaker)
        assert (await told(llm))[0] == "Well again."
    changes = [line for line in logged if line["event"] == "dependency_state_changed"]
    assert [(line["dependency"], line["state"], line["reason"]) for line in changes] == [
        ("llm", "disconnected", "HTTP_500"),
        ("llm", "connected", ""),
    ]
    assert str(llm.state) == "connected"


async def test_a_question_that_the_endpoint_will_not_take_says_nothing_about_the_endpoint(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = refuses(400)
    llm = make(failures=2)
    for _ in range(4):
        await _try(llm)
    assert llm.breaker.state == "closed"


async def test_an_endpoint_that_wants_to_be_left_alone_is(make: Make, endpoint: ModelEndpoint) -> None:
    endpoint.usually = refuses(429, Retry_After="30")
    llm = make(failures=1)
    await _try(llm)
    assert 25 < llm.breaker.retry_seconds <= 30


async def test_a_visitor_who_leaves_half_open_does_not_keep_the_breaker_from_closing(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = refuses(500)
    llm = make(failures=1, open_seconds=60)
    await _try(llm)
    waited_out(llm.breaker)
    endpoint.usually = stalls()
    probe = asyncio.create_task(_try(llm))
    await soon(lambda: len(endpoint.asked) == 2)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    endpoint.usually = says("Well again.")
    assert (await told(llm))[0] == "Well again."


async def test_neither_key_nor_message_of_the_endpoint_is_in_the_log_or_in_an_error(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = refuses(
        401, {"error": {"code": "invalid_api_key", "message": f"Incorrect key: {KEY}"}}
    )
    how = await failed(make())
    assert how.calls[0]["upstream_code"] == "invalid_api_key"
    assert KEY not in str(how.logged)
    llm = make(f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(LLMFailure) as error:
        await told(llm)
    assert KEY not in f"{error.value!r} {error.value.__cause__!r} {llm.model!r}"


async def test_a_connection_is_used_again_and_none_is_left_behind(
    make: Make, endpoint: ModelEndpoint
) -> None:
    llm = make()
    for _ in range(3):
        await told(llm)
    session = llm._endpoint._session
    assert session is not None
    assert len(session.connector._conns) == 1  # type: ignore[union-attr]
    await llm.close()
    gc.collect()


async def _try(llm: LLM) -> None:
    try:
        await told(llm)
    except LLMFailure:
        return
