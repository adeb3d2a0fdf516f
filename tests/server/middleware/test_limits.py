"""How often: by tier and kind of work, for whoever really asks, and nobody pays for somebody else."""

import http.client
import ipaddress
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.limits.memory import MemoryLimiter
from server.limits.policy import SHARED_TIMES
from server.limits.service import Limits
from server.middleware.security import network_of
from tests.harness import Answer, ServerProcess, chat_body, exchange, request_bytes, running
from tests.server.middleware.visitors import Asking, serving

JSON = {"Content-Type": "application/json"}
PROXY = (ipaddress.ip_network("127.0.0.1"),)


@pytest.fixture
async def ask() -> AsyncIterator[Asking]:
    async with serving(Limits(MemoryLimiter()), trusted=PROXY) as asking:
        yield asking


@pytest.mark.parametrize(
    ("path", "visitor", "limit"),
    [
        ("/chat", "", 10),
        ("/chat", "0 ada", 10),
        ("/chat", "1 ada", 30),
        ("/chat", "2 ada", 100),
        ("/save", "1 ada", 5),
        ("/personalize", "2 ada", 3),
        ("/sign_up", "", 10),
        ("/other", "3 ada", 10),
    ],
)
async def test_each_tier_may_so_often_what_it_may(ask: Asking, path: str, visitor: str, limit: int) -> None:
    status, headers = await ask(path, visitor)
    assert (status, headers["RateLimit-Limit"], headers["RateLimit-Remaining"]) == (
        200, str(limit), str(limit - 1),
    )  # fmt: skip
    assert await ask.allowed(limit + 5, path, visitor) == limit - 1
    status, headers = await ask(path, visitor)
    assert (status, headers["RateLimit-Remaining"]) == (429, "0")
    assert 1 <= int(headers["Retry-After"]) == int(headers["RateLimit-Reset"]) <= 60


async def test_premium_asks_without_limit_and_is_told_of_none(ask: Asking) -> None:
    assert await ask.allowed(250, "/chat", "3 ada") == 250
    assert not [name for name in (await ask("/chat", "3 ada"))[1] if name.startswith("RateLimit")]


async def test_what_is_no_limited_work_is_not_counted_and_tells_of_no_limit(ask: Asking) -> None:
    assert await ask.allowed(50, "/free") == 50
    assert await ask.allowed(10, "/chat") == 10
    status, headers = await ask("/free")
    assert status == 200
    assert not [name for name in headers if name.startswith("RateLimit")]


async def test_what_is_asked_without_a_body_wanted_counts_like_any_other(ask: Asking) -> None:
    for _ in range(10):
        assert (await ask("/other", method="HEAD"))[0] == 200
    assert (await ask("/other", method="GET"))[0] == 429
    assert (await ask("/other", method="HEAD"))[0] == 429


async def test_kinds_of_work_do_not_use_up_each_others_limits(ask: Asking) -> None:
    assert await ask.allowed(20, "/chat", "1 ada") == 20
    assert await ask.allowed(9, "/save", "1 ada") == 5
    assert await ask.allowed(20, "/chat", "1 ada") == 10


async def test_a_fresh_session_for_each_request_does_not_escape_the_limit_of_the_address(ask: Asking) -> None:
    statuses = [(await ask("/chat", f"0 session-{number}", "203.0.113.7"))[0] for number in range(30)]
    assert Counter(statuses) == {200: 10, 429: 20}
    assert (await ask("/chat", "0 session-0", "203.0.113.8"))[0] == 200


async def test_a_session_that_changes_its_address_takes_its_count_along(ask: Asking) -> None:
    statuses = [(await ask("/chat", "0 wanderer", f"203.0.113.{number}"))[0] for number in range(30)]
    assert Counter(statuses) == {200: 10, 429: 20}


async def test_who_is_refused_for_the_address_has_not_used_up_the_session(ask: Asking) -> None:
    assert await ask.allowed(10, "/chat", address="203.0.113.7") == 10
    assert await ask.allowed(10, "/chat", "0 ada", "203.0.113.7") == 0
    assert await ask.allowed(11, "/chat", "0 ada", "203.0.113.8") == 10


async def test_one_visitors_flood_does_not_reach_another(ask: Asking) -> None:
    assert await ask.allowed(200, "/chat", address="203.0.113.7") == 10
    assert await ask.allowed(10, "/chat", address="203.0.113.8") == 10
    assert await ask.allowed(30, "/chat", "1 ada", "203.0.113.7") == 30
    assert await ask.allowed(30, "/chat", "1 bob", "203.0.113.7") == 30


async def test_a_user_has_one_limit_wherever_they_are(ask: Asking) -> None:
    assert await ask.allowed(20, "/chat", "1 ada", "203.0.113.7") == 20
    assert await ask.allowed(20, "/chat", "1 ada", "203.0.113.8") == 10


async def test_addresses_of_one_ipv6_subscriber_are_one(ask: Asking) -> None:
    statuses = [(await ask("/chat", address=f"2001:db8:1:2:{n:x}::{n:x}"))[0] for n in range(1, 31)]
    assert Counter(statuses) == {200: 10, 429: 20}
    assert (await ask("/chat", address="2001:db8:1:3::1"))[0] == 200


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_a_subscriber_is_an_ipv4_address_or_64_bits_of_ipv6(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_an_address_that_many_share_has_so_many_times_as_much() -> None:
    office = ipaddress.ip_network("198.51.100.0/24")
    async with serving(Limits(MemoryLimiter()), trusted=PROXY, shared=(office,)) as ask:
        assert (await ask("/chat", address="198.51.100.7"))[1]["RateLimit-Limit"] == str(10 * SHARED_TIMES)
        assert await ask.allowed(210, "/chat", address="198.51.100.7") == 10 * SHARED_TIMES - 1
        assert await ask.allowed(11, "/chat", "0 ada", "198.51.100.8") == 10, "a session is one visitor"
        assert await ask.allowed(11, "/chat", address="198.51.101.7") == 10


async def test_what_is_not_enforced_costs_and_says_nothing() -> None:
    async with serving(Limits(MemoryLimiter(), enforced=False)) as ask:
        assert await ask.allowed(30, "/chat") == 30
        assert "RateLimit-Limit" not in (await ask("/chat"))[1]


# From here on over a real server, as it comes.


@pytest.fixture
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as it comes, behind a proxy of this machine."""
    with running(
        tmp_path_factory.mktemp("limited"), RATE_LIMITS="true", TRUSTED_PROXIES="127.0.0.1"
    ) as server:
        yield server


def question(server: ServerProcess, address: str = "", path: str = "/api/v1/chat", **headers: str) -> Answer:
    """The answer to a question from `address`."""
    sent = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    if address:
        sent["X-Forwarded-For"] = address
    return exchange(server.address, request_bytes("POST", path, sent, chat_body("Is anybody there?")))


def test_the_eleventh_question_of_a_minute_is_refused_and_told_of(limited: ServerProcess) -> None:
    answers = [question(limited, "203.0.113.1") for _ in range(10)]
    assert [answer.status for answer in answers] == [200] * 10
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == [str(n) for n in range(9, -1, -1)]
    stream = question(limited, "203.0.113.9", "/api/v1/chat/stream")
    assert (stream.status, stream.headers["ratelimit-limit"]) == (200, "10")

    refused = question(limited, "203.0.113.1", X_Request_ID="eleventh", Origin="http://localhost:3000")
    body = refused.json()
    assert refused.status == 429
    assert list(body) == ["error", "message", "request_id", "retry_after"]
    assert (body["error"], body["request_id"]) == ("rate_limited", "eleventh")
    assert isinstance(body["retry_after"], int)
    assert 1 <= body["retry_after"] <= 60
    assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"] == str(body["retry_after"])
    assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("10", "0")
    assert f"{body['retry_after']} second" in body["message"]
    readable = refused.headers["access-control-expose-headers"]
    assert all(name in readable for name in ("Retry-After", "RateLimit-Limit", "RateLimit-Reset"))

    (event,) = limited.wait_for("http_request", request_id="eleventh")
    assert (event["status"], event["outcome"], event["level"]) == (429, "client_error", "INFO")
    assert (event["limit"], event["limited_by"]) == ("chat", "address")
    assert event["retry_after"] == body["retry_after"]
    told = exchange(limited.address, request_bytes("GET", "/metrics")).json()
    assert (told["rate_limit_hits"], told["error_count"]) == (1, 0)


def test_a_flood_makes_one_event_for_each_request_and_no_more(limited: ServerProcess) -> None:
    for _ in range(60):
        question(limited, "203.0.113.2")
    limited.wait_for("http_request", 50, status=429)
    events = Counter(event["event"] for event in limited.events() if event["event"] != "heartbeat")
    assert events.pop("http_request") == 60
    assert events.pop("question_answered") == 10
    assert sum(events.values()) <= 4, events  # of the start


def test_what_a_proxy_of_ours_says_is_counted_from_the_right(limited: ServerProcess) -> None:
    statuses = [question(limited, f"6.6.6.{number}, 203.0.113.3").status for number in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    assert question(limited, "203.0.113.3, 203.0.113.4").status == 200


def test_what_anybody_else_says_of_their_address_is_nothing(tmp_path: Path) -> None:
    with running(tmp_path, RATE_LIMITS="true") as server:
        statuses = [question(server, f"203.0.113.{number}").status for number in range(12)]
    assert statuses == [200] * 10 + [429] * 2


def test_preflights_pages_and_probes_are_free_also_for_who_is_refused(limited: ServerProcess) -> None:
    while question(limited).status == 200:
        pass
    preflight = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    for _ in range(15):
        asked = exchange(limited.address, request_bytes("OPTIONS", "/api/v1/chat", preflight))
        assert asked.status == 204
    page = exchange(limited.address, request_bytes("GET", "/widget/chatkit.js"))
    known = {"If-None-Match": page.headers["etag"]}
    for path, headers, status in (
        ("/widget/chatkit.js", known, 304),
        ("/", {}, 200),
        ("/health", {}, 200),
        ("/health/ready", {}, 200),
        ("/metrics", {}, 200),
        ("/nowhere", {}, 404),
        ("/api/v1/chat", {}, 405),
    ):
        for _ in range(3):
            answer = exchange(limited.address, request_bytes("GET", path, headers))
            assert answer.status == status
            assert "ratelimit-limit" not in answer.headers


def test_a_question_that_is_none_counts_too(limited: ServerProcess) -> None:
    bad = request_bytes("POST", "/api/v1/chat", JSON, b"{}")
    statuses = [exchange(limited.address, bad).status for _ in range(12)]
    assert statuses == [400] * 10 + [429] * 2


def test_who_was_refused_before_the_body_was_read_can_go_on_with_the_same_connection(
    limited: ServerProcess,
) -> None:
    connection = http.client.HTTPConnection(*limited.address, timeout=10)
    statuses = []
    for _ in range(15):
        connection.request("POST", "/api/v1/chat", json.dumps({"message": "x" * 1500}).encode(), JSON)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert statuses == [200] * 10 + [429] * 5
