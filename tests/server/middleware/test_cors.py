"""Only the sites that are allowed may read an answer, to the letter; every answer says that it depends on who asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ServerProcess, chat_body, exchange, request_bytes, running

JSON = {"Content-Type": "application/json"}
ALLOWED = "https://shop.example"
FOREIGN = [
    "https://shop.example.evil.com",
    "https://evilshop.example",
    "https://shop.example:8443",
    "http://shop.example",
    "https://SHOP.example.",
    "https://sub.shop.example",
    "https://shop.exampl",
    "null",
    "",
    "*",
]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running(tmp_path_factory.mktemp("cors"), CORS_ORIGINS=f"{ALLOWED},https://docs.example") as server:
        yield server


def preflight(origin: str) -> bytes:
    return request_bytes(
        "OPTIONS", "/api/v1/chat", {"Origin": origin, "Access-Control-Request-Method": "POST"}
    )


def test_an_allowed_site_may_ask_and_read_the_id(strict: ServerProcess) -> None:
    answer = exchange(strict.address, preflight(ALLOWED))
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert "X-Request-ID" in answer.headers["access-control-allow-headers"]
    for request in (
        request_bytes("POST", "/api/v1/chat", JSON | {"Origin": ALLOWED}, chat_body("hello")),
        request_bytes("POST", "/api/v1/chat/stream", JSON | {"Origin": ALLOWED}, chat_body("hello")),
        request_bytes("POST", "/api/v1/chat", JSON | {"Origin": ALLOWED}, b"{"),
        request_bytes("GET", "/test/faults/exception", {"Origin": ALLOWED}),
        request_bytes("GET", "/nowhere", {"Origin": ALLOWED}),
    ):
        answer = exchange(strict.address, request)
        assert answer.headers["access-control-allow-origin"] == ALLOWED
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", FOREIGN)
def test_any_other_site_may_not(strict: ServerProcess, origin: str) -> None:
    for request in (
        preflight(origin),
        request_bytes("POST", "/api/v1/chat", JSON | {"Origin": origin}, chat_body("hello")),
    ):
        answer = exchange(strict.address, request)
        assert [name for name in answer.headers if name.startswith("access-control-")] == []
        assert "Origin" in answer.headers["vary"]
    assert exchange(strict.address, preflight(origin)).status == 403


def test_a_refused_site_is_told_of_in_the_log(strict: ServerProcess) -> None:
    exchange(strict.address, preflight("https://evil.example"))
    (event,) = strict.wait_for("cors_rejected", origin="https://evil.example")
    assert event["preflight"] is True


def test_an_answer_to_nobody_in_particular_still_depends_on_who_asks(strict: ServerProcess) -> None:
    answer = exchange(strict.address, request_bytes("GET", "/health"))
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in answer.headers


def test_the_widget_may_be_loaded_by_any_site(strict: ServerProcess) -> None:
    answer = exchange(
        strict.address, request_bytes("GET", "/widget/chatkit.js", {"Origin": "https://anyone.example"})
    )
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


def test_a_page_of_the_server_itself_is_no_stranger(strict: ServerProcess) -> None:
    request = request_bytes("POST", "/api/v1/chat", JSON | {"Origin": "http://localhost"}, chat_body("hello"))
    answer = exchange(strict.address, request)
    assert answer.status == 200
    assert strict.events("cors_rejected", origin="http://localhost") == []


def test_development_without_a_list_lets_every_port_of_this_machine_in(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        for origin in ("http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:8080"):
            assert (
                exchange(server.address, preflight(origin)).headers["access-control-allow-origin"] == origin
            )
        for origin in ("http://localhost.evil.com", "http://localhost:3000.evil.com", "http://10.0.0.1:3000"):
            assert exchange(server.address, preflight(origin)).status == 403
