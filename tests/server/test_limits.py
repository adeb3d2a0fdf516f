"""What a client may cost: sizes and times are bounded, and who goes over them is told or closed."""

import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Answer, ServerProcess, chat_body, exchange, request_bytes, running

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that waits for nobody."""
    settings = {"REQUEST_BODY_SECONDS": "0.5", "KEEPALIVE_SECONDS": "1", "REQUEST_MAX_BYTES": "4096"}
    with running(tmp_path_factory.mktemp("hurried"), **settings) as server:
        yield server


def test_a_body_that_does_not_come_is_answered_with_408_and_closed(hurried: ServerProcess) -> None:
    whole = request_bytes("POST", "/api/v1/chat", JSON | {"X-Request-ID": "slow-body"}, chat_body("x" * 100))
    started = time.monotonic()
    answer = exchange(hurried.address, whole[:-50])
    assert time.monotonic() - started > 0.4, "it is waited for"
    assert answer.status == 408
    assert answer.json()["error"] == "invalid_request"
    assert answer.headers["connection"] == "close"
    (event,) = hurried.wait_for("http_request", request_id="slow-body")
    assert (event["status"], event["outcome"]) == (408, "client_error")


def test_a_body_that_drips_is_not_waited_for_longer(hurried: ServerProcess) -> None:
    whole = request_bytes("POST", "/api/v1/chat", JSON, chat_body("x" * 1000))
    head, _, body = whole.partition(b"\r\n\r\n")
    with socket.create_connection(hurried.address, timeout=10) as connection:
        connection.sendall(head + b"\r\n\r\n")
        received = b""
        for byte in body:
            try:
                connection.sendall(bytes([byte]))
                connection.settimeout(0.02)
                received += connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if received:
                break
    assert Answer(received).status == 408


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_connection_that_sends_no_whole_request_is_closed(hurried: ServerProcess, begun: bytes) -> None:
    with socket.create_connection(hurried.address, timeout=10) as connection:
        connection.sendall(begun)
        started = time.monotonic()
        assert connection.recv(65536) == b""
        assert time.monotonic() - started > 0.5


def test_a_body_over_the_limit_is_413_however_it_is_sent(hurried: ServerProcess) -> None:
    large = chat_body("x" * 5000)
    assert exchange(hurried.address, request_bytes("POST", "/api/v1/chat", JSON, large)).status == 413
    chunked = request_bytes("POST", "/api/v1/chat", JSON | {"Transfer-Encoding": "chunked"})
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in large) + b"0\r\n\r\n"
    assert exchange(hurried.address, chunked + chunks).status == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_bomb_is_refused_without_being_unpacked(hurried: ServerProcess, encoding: str) -> None:
    def resident() -> int:
        assert hurried.process is not None
        return int(Path(f"/proc/{hurried.process.pid}/statm").read_text().split()[1]) * 4096

    exchange(hurried.address, request_bytes("POST", "/api/v1/chat", JSON, chat_body("x")))
    before = resident()
    bomb = b" " * (64 << 20)
    packed = gzip.compress(bomb) if encoding == "gzip" else zlib.compress(bomb)
    for _ in range(3):
        answer = exchange(
            hurried.address,
            request_bytes("POST", "/api/v1/chat", JSON | {"Content-Encoding": encoding}, packed),
        )
        assert answer.status == 413
    assert resident() - before < 20 << 20


def test_a_compressed_question_is_answered(asked: ServerProcess) -> None:
    body = gzip.compress(chat_body("How do I trace a request?"))
    answer = exchange(
        asked.address, request_bytes("POST", "/api/v1/chat", JSON | {"Content-Encoding": "gzip"}, body)
    )
    assert answer.status == 200
    assert answer.json()["sources"]


def test_requests_on_one_connection_are_answered_in_order(asked: ServerProcess) -> None:
    count = 30
    requests = b"".join(
        f"GET /{'health/live' if n % 2 else 'nowhere'} HTTP/1.1\r\nHost: a\r\nX-Request-ID: pipe-{n}\r\n\r\n".encode()
        for n in range(count - 1)
    )
    last = request_bytes("GET", "/health/live", {"X-Request-ID": f"pipe-{count - 1}"})
    answer = exchange(asked.address, requests + last)
    order = [line.split(b": ")[1] for line in answer.raw.split(b"\r\n") if line.startswith(b"X-Request-ID")]
    assert order == [f"pipe-{n}".encode() for n in range(count)]
    for n in range(count):
        assert len(asked.wait_for("http_request", request_id=f"pipe-{n}")) == 1


def test_a_slow_reader_does_not_hold_up_others(asked: ServerProcess) -> None:
    slow = [socket.create_connection(asked.address, timeout=10) for _ in range(50)]
    for connection in slow:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.sendall(b"GET /widget/chatkit.js.map HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    for _ in range(20):
        assert exchange(asked.address, request_bytes("GET", "/health")).status == 200
    for connection in slow:
        connection.close()
    body = json.loads(exchange(asked.address, request_bytes("GET", "/health/ready")).body)
    assert body["status"] == "ready"
