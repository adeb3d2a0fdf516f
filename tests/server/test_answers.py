"""An answer that goes out in one write says what aiohttp would have made of it, header by header."""

import socket
from collections.abc import Mapping

import pytest

from tests.harness import Answer, ServerProcess, chat_body, request_bytes

SITE = "https://site.example"
JSON = {"Content-Type": "application/json"}
OF_THE_MOMENT = ("date", "x-request-id", "connection")

REQUESTS = {
    "ok": ("GET", "/health/live", {}, b""),
    "refused": ("POST", "/api/v1/chat", JSON, b"[]"),
    "nowhere": ("GET", "/nothing", {}, b""),
    "not so": ("GET", "/api/v1/chat", {}, b""),
    "a bug": ("GET", "/test/faults/exception", {}, b""),
    "another site": ("GET", "/health/live", {"Origin": "http://localhost:3000"}, b""),
    "a site that may not": ("GET", "/health/live", {"Origin": SITE}, b""),
    "an ID": ("GET", "/health/live", {"X-Request-ID": "theirs-1"}, b""),
    "figures": ("GET", "/metrics", {}, b""),
}


def kept_open(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    return request_bytes(method, path, headers, body).replace(b"Connection: close\r\n", b"")


def one_after_the_other(address: tuple[str, int], *requests: bytes) -> list[Answer]:
    """The answers to requests that are sent at once over one connection; each must be as long as it says, and none may be left."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"".join(requests))
        received = bytearray()
        while chunk := connection.recv(65536):
            received += chunk
    answers = []
    while received:
        head = received.index(b"\r\n\r\n") + 4
        length = int(Answer(bytes(received[:head])).headers["content-length"])
        answers.append(Answer(bytes(received[: head + length])))
        del received[: head + length]
    return answers


def of_both_ways(server: ServerProcess, request: tuple[str, str, dict[str, str], bytes]) -> list[Answer]:
    """The answer in one write, and aiohttp's."""
    return one_after_the_other(server.address, kept_open(*request), request_bytes(*request))


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_have_the_same_head(asked: ServerProcess, name: str) -> None:
    one, theirs = of_both_ways(asked, REQUESTS[name])
    assert one.status == theirs.status
    assert "connection" not in one.headers
    assert theirs.headers["connection"] == "close"
    for answer in (one, theirs):
        assert answer.headers["date"].endswith(" GMT")
        assert answer.headers["x-request-id"]
        for passing in (*OF_THE_MOMENT, "content-length"):  # of figures, which change
            answer.headers.pop(passing, None)
    assert one.headers == theirs.headers


def test_both_ways_have_the_same_body(asked: ServerProcess) -> None:
    for name in ("ok", "an ID"):
        one, theirs = of_both_ways(asked, REQUESTS[name])
        assert one.body == theirs.body != b""
    one, theirs = of_both_ways(asked, ("POST", "/api/v1/chat", JSON, chat_body("What is this?")))
    assert one.json()["answer"] == theirs.json()["answer"]


def test_a_connection_stays_open_for_a_hundred_answers_and_each_comes_once(asked: ServerProcess) -> None:
    requests = [
        kept_open("GET", "/health/live", {"X-Request-ID": f"kept-{number}"}, b"") for number in range(99)
    ]
    last = request_bytes("GET", "/health/live", {"X-Request-ID": "kept-99"})
    answers = one_after_the_other(asked.address, *requests, last)
    assert [answer.headers["x-request-id"] for answer in answers] == [f"kept-{n}" for n in range(100)]


def test_head_has_the_head_and_nothing_after_it(asked: ServerProcess) -> None:
    with socket.create_connection(asked.address, timeout=10) as connection:
        connection.sendall(kept_open("HEAD", "/health/live", {}, b"") + request_bytes("GET", "/nothing"))
        received = bytearray()
        while chunk := connection.recv(65536):
            received += chunk
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    assert b"Content-Length: 15" in head
    assert rest.startswith(b"HTTP/1.1 404 ")


def test_an_older_http_gets_its_answer(asked: ServerProcess) -> None:
    with socket.create_connection(asked.address, timeout=10) as connection:
        connection.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        received = bytearray()
        while chunk := connection.recv(65536):
            received += chunk
    answer = Answer(bytes(received))
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert received.startswith(b"HTTP/1.0 200 OK")


def test_what_no_route_takes_has_an_id_and_an_event(asked: ServerProcess) -> None:
    request = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Request-ID: star\r\nExpect: the-best\r\n\r\n"
    (answer,) = one_after_the_other(asked.address, request)
    assert answer.status >= 400
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "star"
    (event,) = asked.wait_for("http_request", request_id="star")
    assert (event["route"], event["status"]) == ("unmatched", answer.status)
