"""One ID from the request to the answer and to every event; what cannot be one is replaced, never refused."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.middleware.request_id import mint, rejection, trace_context
from tests.harness import ServerProcess, chat_body, exchange, request_bytes
from tests.shared import naughty_strings

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
JSON = {"Content-Type": "application/json"}

EVERY_KIND_OF_ANSWER = {
    "200": request_bytes("GET", "/health"),
    "200 of a page": request_bytes("GET", "/"),
    "200 of a file": request_bytes("GET", "/widget/chatkit.js"),
    "200 of figures": request_bytes("GET", "/metrics"),
    "a stream": request_bytes("POST", "/api/v1/chat/stream", JSON, chat_body("How do I trace a request?")),
    "204 preflight": request_bytes(
        "OPTIONS",
        "/api/v1/chat",
        {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"},
    ),
    "400": request_bytes("POST", "/api/v1/chat", JSON, b"{"),
    "403 preflight": request_bytes(
        "OPTIONS", "/api/v1/chat", {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    ),
    "404": request_bytes("GET", "/nothing/here"),
    "405": request_bytes("DELETE", "/health"),
    "413": request_bytes("POST", "/api/v1/chat", JSON, b" " * 200_000),
    "415": request_bytes("POST", "/api/v1/chat", {"Content-Type": "text/plain"}, b"{}"),
    "500": request_bytes("GET", "/test/faults/exception"),
    "500 of a header that cannot be sent": request_bytes("GET", "/test/faults/header"),
    "a stream that breaks": request_bytes("GET", "/test/faults/stream"),
    "HEAD": request_bytes("HEAD", "/health"),
}


def with_headers(request: bytes, *headers: bytes) -> bytes:
    return request.replace(
        b"Host: localhost\r\n", b"Host: localhost\r\n" + b"".join(h + b"\r\n" for h in headers)
    )


@pytest.mark.parametrize("request_", EVERY_KIND_OF_ANSWER.values(), ids=EVERY_KIND_OF_ANSWER.keys())
def test_every_answer_carries_the_clients_id_and_so_does_its_event(
    asked: ServerProcess, request_: bytes
) -> None:
    given_id = f"test.{uuid.uuid4().hex}_-X"
    answer = exchange(asked.address, with_headers(request_, b"X-Request-ID: " + given_id.encode()))
    assert answer.headers["x-request-id"] == given_id
    (event,) = asked.wait_for("http_request", request_id=given_id)
    assert event["status"] == answer.status


@pytest.mark.parametrize("request_", EVERY_KIND_OF_ANSWER.values(), ids=EVERY_KIND_OF_ANSWER.keys())
def test_every_answer_has_a_new_uuid_where_the_client_sent_none(
    asked: ServerProcess, request_: bytes
) -> None:
    first, second = (exchange(asked.address, request_).headers["x-request-id"] for _ in range(2))
    assert UUID4.fullmatch(first)
    assert first != second


REJECTED = {
    "empty": b"",
    "too long": b"a" * 65,
    "nothing telling": b"-._-",
    "a space": b"a b",
    "a slash": b"a/b",
    "a byte 0xFF": b"abc\xff",
    "UTF-8": "ä".encode(),
    "a quote": b"a'b",
    "JSON": b'{"a":1}',
    "a percent sign": b"a%0d%0ab",
}


@pytest.mark.parametrize("value", REJECTED.values(), ids=REJECTED.keys())
def test_what_cannot_be_an_id_is_replaced_and_told_without_its_value(
    asked: ServerProcess, value: bytes
) -> None:
    answer = exchange(
        asked.address, with_headers(request_bytes("GET", "/health/live"), b"X-Request-ID: " + value)
    )
    assert answer.status == 200
    minted = answer.headers["x-request-id"]
    assert UUID4.fullmatch(minted)
    (event,) = asked.wait_for("request_id_rejected", request_id=minted)
    assert event["length"] == len(value.decode("utf-8", "surrogateescape"))
    assert event.keys() - {"reason", "length"} == {
        "timestamp", "level", "service", "event", "request_id", "boot", "seq", "version", "config",
    }  # fmt: skip


def test_two_ids_are_none(asked: ServerProcess) -> None:
    request = with_headers(request_bytes("GET", "/health/live"), b"X-Request-ID: abc1", b"X-Request-ID: abc2")
    minted = exchange(asked.address, request).headers["x-request-id"]
    assert UUID4.fullmatch(minted)
    assert asked.wait_for("request_id_rejected", request_id=minted)[0]["reason"] == "repeated"


def test_a_line_break_in_the_id_never_reaches_the_answer(asked: ServerProcess) -> None:
    for value in (b"abc\r\nX-Evil: 1", b"abc\nX-Evil: 1", b"abc\rX-Evil: 1", b"abc\x00"):
        request = with_headers(request_bytes("GET", "/health/live"), b"X-Request-ID: " + value)
        answer = exchange(asked.address, request)
        assert answer.status in {200, 400}
        assert "x-evil" not in answer.headers
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])


def test_every_naughty_string_as_id_and_user_agent_gets_an_answer(asked: ServerProcess) -> None:
    for text in naughty_strings():
        raw = text.encode("utf-8", "surrogatepass").replace(b"\r", b"").replace(b"\n", b"")
        request = with_headers(
            request_bytes("GET", "/health/live"), b"X-Request-ID: " + raw, b"User-Agent: " + raw
        )
        answer = exchange(asked.address, request)
        assert answer.status in {200, 400}, text
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"]), text


@given(st.text(alphabet="abzAZ019._-", min_size=1, max_size=64))
def test_what_is_allowed_is_taken(value: str) -> None:
    assert (rejection([value]) is None) == any(char.isalnum() for char in value)


@given(st.text())
def test_only_what_is_allowed_is_taken(value: str) -> None:
    if rejection([value]) is None:
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value)


def test_a_minted_id_is_a_uuid4() -> None:
    minted = {mint() for _ in range(1000)}
    assert len(minted) == 1000
    assert all(UUID4.fullmatch(value) and uuid.UUID(value).version == 4 for value in minted)


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
        (f"00-{TRACE}-{SPAN}-01-extra", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
    ],
)
def test_only_a_valid_traceparent_is_kept(header: str, known: bool) -> None:
    assert trace_context([header]) == ((TRACE, SPAN) if known else None)
    assert trace_context([header, header]) is None


def test_the_trace_is_kept_beside_the_id_on_every_event(asked: ServerProcess) -> None:
    request = with_headers(
        request_bytes("GET", "/test/faults/exception"),
        b"X-Request-ID: trace-1",
        f"traceparent: 00-{TRACE}-{SPAN}-01".encode(),
    )
    assert exchange(asked.address, request).status == 500
    asked.wait_for("http_request", request_id="trace-1")
    events = asked.events(request_id="trace-1")
    assert {event["event"] for event in events} == {"fault_injected", "unhandled_exception", "http_request"}
    assert {(event["trace_id"], event["span_id"]) for event in events} == {(TRACE, SPAN)}
