"""Who asks is found from the right, only proxies that are declared are believed, and production is HTTPS only."""

import ipaddress
import secrets
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.middleware.security import Addresses
from tests.harness import ServerProcess, chat_body, exchange, request_bytes, running

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.2.3.4"], "203.0.113.9"),  # not a proxy of ours: what it says of others is nothing
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),  # the left one may be made up
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4, 10.0.0.2"], "1.2.3.4"),  # two proxies, two headers
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # all ours: the first of them
        ("10.0.0.1", ["1.2.3.4, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
    ],
)
def test_the_client_is_the_rightmost_that_is_no_proxy_of_ours(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert Addresses(TRUSTED, b"key").client(peer, forwarded) == client


@given(st.lists(st.text(max_size=200), max_size=5))
def test_no_header_can_break_the_search_or_forge_an_untrusted_peer(forwarded: list[str]) -> None:
    addresses = Addresses(TRUSTED, b"key")
    assert addresses.client("203.0.113.9", forwarded) == "203.0.113.9"
    assert isinstance(addresses.client("10.0.0.1", forwarded), str)


def test_an_address_is_hidden_by_a_key() -> None:
    one, other = Addresses((), b"one"), Addresses((), b"other")
    assert one.hashed("1.2.3.4") == one.hashed("1.2.3.4")
    assert one.hashed("1.2.3.4") != one.hashed("1.2.3.5")
    assert one.hashed("1.2.3.4") != other.hashed("1.2.3.4")


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("production")
    settings = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": secrets.token_urlsafe(32),
        "DATABASE_URL": "sqlite+aiosqlite:///var/chatkit.db",
        "BASE_URL": "https://chat.example.com",
        "TRUSTED_PROXIES": "127.0.0.1",
        "INTEGRATION_TEST_MODE": "false",
    }
    server = ServerProcess(folder, **settings)
    assert server.command("server", "migrate").returncode == 0
    with running(folder, **settings) as started:
        yield started


HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
JSON = {"Content-Type": "application/json"}


def test_production_refuses_plain_http_and_says_why(production: ServerProcess) -> None:
    for request in (
        request_bytes("GET", "/"),
        request_bytes("POST", "/api/v1/chat", JSON, chat_body("hello")),
        request_bytes(
            "POST", "/api/v1/chat", JSON | {"X-Forwarded-Proto": "https, http"}, chat_body("hello")
        ),
        request_bytes("POST", "/api/v1/chat", JSON | {"X-Forwarded-Proto": "http"}, chat_body("hello")),
    ):
        answer = exchange(production.address, request)
        assert answer.status == 403
        assert "https://" in answer.json()["message"]
        assert "strict-transport-security" not in answer.headers


def test_production_serves_https_behind_its_proxy(production: ServerProcess) -> None:
    answer = exchange(
        production.address, request_bytes("POST", "/api/v1/chat", JSON | HTTPS, chat_body("hello"))
    )
    assert answer.status == 200
    assert answer.headers["strict-transport-security"] == "max-age=31536000", (
        "other hosts are not ours to bind"
    )


def test_probes_beside_the_server_need_no_https(production: ServerProcess) -> None:
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert exchange(production.address, request_bytes("GET", path)).status == 200


def test_the_address_in_the_log_is_the_visitors(production: ServerProcess) -> None:
    for number, forwarded in enumerate(("203.0.113.7", "6.6.6.6, 203.0.113.7", "203.0.113.8")):
        headers = {
            "X-Request-ID": f"for-{number}",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": forwarded,
        }
        exchange(production.address, request_bytes("GET", "/health/live", headers))
        production.wait_for("http_request", request_id=f"for-{number}")
    first, spoofed, other = (
        production.events("http_request", request_id=f"for-{n}")[0]["client"] for n in range(3)
    )
    assert first == spoofed != other


def test_there_are_no_faults_to_ask_for_in_production(production: ServerProcess) -> None:
    assert exchange(production.address, request_bytes("GET", "/test/faults/exception", HTTPS)).status == 404


def test_every_answer_has_the_security_headers(asked: ServerProcess) -> None:
    for path, policy in (
        ("/health", "default-src 'none'"),
        ("/nowhere", "default-src 'none'"),
        ("/", "script-src 'self'"),
    ):
        headers = exchange(asked.address, request_bytes("GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert policy in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
        assert headers["server"] == "ChatKit"
        assert headers["cache-control"] in {"no-store", "no-cache"}
