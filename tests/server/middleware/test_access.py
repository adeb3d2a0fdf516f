"""Exactly one canonical event for every routed request, whatever happened to it, and figures that agree with it."""

import asyncio
import json
import random
import socket
import struct
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.middleware.access import origin_of, ua_family
from tests.harness import ServerProcess, chat_body, exchange, request_bytes, running

JSON = {"Content-Type": "application/json"}


def vanish(address: tuple[str, int], request: bytes, *, after: float = 0.0, reset: bool = False) -> None:
    """Send `request`, wait `after` seconds, and leave: politely, or with a reset."""
    connection = socket.create_connection(address, timeout=10)
    connection.sendall(request)
    time.sleep(after)
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_before_its_answer_is_client_closed_and_no_error(
    asked: ServerProcess, reset: bool
) -> None:
    name = f"left-early-{reset}"
    request = request_bytes("GET", "/test/faults/slow?seconds=0.5", {"X-Request-ID": name})
    vanish(asked.address, request, after=0.1, reset=reset)
    (event,) = asked.wait_for("http_request", request_id=name)
    assert (event["outcome"], event["level"]) == ("client_closed", "INFO")
    assert event["status"] == 499 or event["status"] == 200
    assert asked.events("unhandled_exception", request_id=name) == []


def test_a_client_that_leaves_in_the_middle_of_its_body_is_client_closed(asked: ServerProcess) -> None:
    request = request_bytes(
        "POST", "/api/v1/chat", JSON | {"X-Request-ID": "half-a-body"}, chat_body("x" * 500)
    )[:-200]
    vanish(asked.address, request, after=0.1)
    (event,) = asked.wait_for("http_request", request_id="half-a-body")
    assert event["outcome"] == "client_closed"
    assert asked.events("unhandled_exception", request_id="half-a-body") == []


def test_a_client_that_leaves_after_its_answer_was_answered(asked: ServerProcess) -> None:
    exchange(asked.address, request_bytes("GET", "/health/live", {"X-Request-ID": "left-late"}))
    (event,) = asked.wait_for("http_request", request_id="left-late")
    assert (event["status"], event["outcome"]) == (200, "ok")


def test_a_client_that_leaves_a_stream_is_client_closed_and_no_error(asked: ServerProcess) -> None:
    request = request_bytes("GET", "/test/faults/drip", {"X-Request-ID": "left-stream"})
    with socket.create_connection(asked.address, timeout=10) as connection:
        connection.sendall(request)
        assert b"drop" in connection.recv(65536) + connection.recv(65536)
    (event,) = asked.wait_for("http_request", request_id="left-stream")
    assert (event["status"], event["outcome"], event["level"]) == (200, "client_closed", "INFO")
    assert event["bytes"] > 0
    assert asked.events("unhandled_exception", request_id="left-stream") == []


def test_the_parsers_refusals_are_recorded_answered_and_counted_as_no_request(asked: ServerProcess) -> None:
    hostile = [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]
    for request in hostile:
        answer = exchange(asked.address, request)
        assert answer.status == 400, request
        body = answer.json()
        assert body["error"] == "invalid_request"
        assert body["request_id"] == answer.headers["x-request-id"]
        (event,) = asked.wait_for("http_rejected", request_id=body["request_id"])
        assert (event["status"], event["client"]) == (400, asked.events("http_request")[0]["client"])
        assert asked.events("http_request", request_id=body["request_id"]) == []


def test_an_expectation_nobody_knows_is_passed_over(asked: ServerProcess) -> None:
    for path, status in (("/health/live", 200), ("/nowhere", 404)):
        request = request_bytes("GET", path, {"Expect": "the-unexpected", "X-Request-ID": f"expect-{status}"})
        assert exchange(asked.address, request).status == status
        assert len(asked.wait_for("http_request", request_id=f"expect-{status}")) == 1


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(asked: ServerProcess) -> None:
    body = chat_body("How do I trace a request?")
    request = request_bytes("POST", "/api/v1/chat", JSON | {"Expect": "100-continue"}, body)
    answer = exchange(asked.address, request)
    assert answer.raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "path",
    ["/%00", "/%ff%fe", "/a%0d%0aX-Evil:%201", "//evil.example/", "/..%2f..%2fetc", "/\xe9", "/%", "*"],
)
def test_any_path_has_one_event_without_control_characters(asked: ServerProcess, path: str) -> None:
    name = f"path-{abs(hash(path))}"
    answer = exchange(asked.address, request_bytes("GET", path, {"X-Request-ID": name}))
    assert answer.status in {400, 404}
    if answer.status == 400:
        assert len(asked.wait_for("http_rejected", request_id=answer.headers["x-request-id"])) == 1
    else:
        (event,) = asked.wait_for("http_request", request_id=name)
        assert event["route"] == "unmatched"
        assert event["path"].isprintable()


def test_query_strings_are_not_logged_and_secrets_in_paths_are_hidden(asked: ServerProcess) -> None:
    for number, path in enumerate(
        ("/health/live?token=abcdefghijkl", "/verify/abcdefghijklmnop", "/nowhere?a=abcdefghijkl")
    ):
        exchange(asked.address, request_bytes("GET", path, {"X-Request-ID": f"query-{number}"}))
        asked.wait_for("http_request", request_id=f"query-{number}")
        assert "abcdefghijkl" not in json.dumps(asked.events(request_id=f"query-{number}"))


def test_the_event_says_who_asked_without_saying_who(asked: ServerProcess) -> None:
    agent = (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"
    )
    headers = {"X-Request-ID": "who-1", "User-Agent": agent, "Origin": "http://localhost:3000"}
    exchange(asked.address, request_bytes("GET", "/health/live", headers))
    (event,) = asked.wait_for("http_request", request_id="who-1")
    assert (event["ua_family"], event["origin"]) == ("Chrome", "http://localhost:3000")
    assert len(event["client"]) == 16
    assert "127.0.0.1" not in json.dumps(event)
    assert "AppleWebKit" not in json.dumps(event)


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        ("", "none"), ("curl/8.0", "curl"), ("Mozilla/5.0 Firefox/130.0", "Firefox"), ("Prometheus/2.42.0", "Prometheus"),
        ("Mozilla/5.0 Chrome/120 Safari/537 Edg/120", "Edge"), ("Googlebot/2.1", "Bot"), ("\udcff", "other"),
    ],
)  # fmt: skip
def test_a_user_agent_becomes_a_word(agent: str, family: str) -> None:
    assert ua_family(agent) == family


def test_an_origin_that_is_none_is_called_invalid() -> None:
    assert origin_of("https://shop.example:8443") == "https://shop.example:8443"
    assert origin_of("null") == "null"
    for value in (
        "javascript:alert(1)",
        "https://a b",
        "https://" + "a" * 300,
        "\udcff",
        "https://a/path?token=x",
    ):
        assert origin_of(value) == "invalid"


async def test_a_thousand_requests_leave_a_thousand_events_that_say_what_the_client_saw(
    tmp_path: Path,
) -> None:
    """Mixed kinds, many at once; and `/metrics` agrees with the log to the last digit."""
    rng = random.Random(1)
    with running(tmp_path / "server") as server:
        kinds: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "/health", {}),
            ("GET", "/metrics", {}),
            ("GET", "/", {}),
            ("GET", "/nowhere", {}),
            ("DELETE", "/health", {}),
            ("POST", "/api/v1/chat", {"json": {"message": "How do I trace a request?"}}),
            ("POST", "/api/v1/chat/stream", {"json": {"message": "What is in the log?"}}),
            ("POST", "/api/v1/chat", {"json": {"message": ""}}),
            (
                "POST",
                "/api/v1/chat",
                {"data": "x" * 150_000, "headers": {"Content-Type": "application/json"}},
            ),
            ("POST", "/api/v1/chat", {"data": "plain"}),
            ("GET", "/test/faults/exception", {}),
            ("GET", "/test/faults/stream", {}),
            ("GET", "/test/faults/slow?seconds=0.01", {}),
        ]
        seen: dict[str, int] = {}

        async def visit(session: aiohttp.ClientSession, number: int) -> None:
            method, path, options = kinds[number % len(kinds)]
            name = f"mixed-{number}"
            headers = options.get("headers", {}) | {"X-Request-ID": name}
            async with session.request(
                method, server.url + path, **options | {"headers": headers}
            ) as response:
                assert response.headers["X-Request-ID"] == name
                seen[name] = response.status
                try:
                    await response.read()
                except aiohttp.ClientPayloadError:
                    assert path == "/test/faults/stream"

        async def visitor(numbers: list[int]) -> None:
            async with aiohttp.ClientSession() as session:
                for number in numbers:
                    await visit(session, number)

        numbers = list(range(1000))
        rng.shuffle(numbers)
        await asyncio.gather(*(visitor(numbers[start::20]) for start in range(20)))
        server.wait_for("http_request", 1000)
        events = server.events("http_request")
        assert len(events) == 1000
        assert {event["request_id"]: event["status"] for event in events} == seen

        counted = [e for e in events if e["route"] != "/metrics" and not e["route"].startswith("/health")]
        failed = [event for event in counted if event["outcome"] == "server_error"]
        durations = [event["duration_ms"] for event in counted]
        told = exchange(server.address, request_bytes("GET", "/metrics")).json()
        assert told["total_requests"] == len(counted)
        assert told["error_count"] == len(failed) > 0
        assert told["error_rate_percent"] == round(100 * len(failed) / len(counted), 2)
        assert told["rate_limit_hits"] == 0
        assert told["avg_response_ms"] == round(sum(durations[-100:]) / 100, 2)
        by_route = Counter(event["route"] for event in counted)
        assert {route: windows["5m"]["requests"] for route, windows in told["routes"].items()} == by_route
        assert told["windows"]["15m"]["requests"] == len(counted)
        outcomes = Counter(event["outcome"] for event in events)
        assert outcomes.keys() == {"ok", "client_error", "server_error"}

        everything = server.events()
        sequence = sorted(event["seq"] for event in everything)
        assert sequence == list(range(1, len(sequence) + 1))
