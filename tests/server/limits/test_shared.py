"""Counted together in Redis; and what happens while it is away, hangs, or forgets."""

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from server.accounts.visitor import Tier
from server.errors import RateLimited, ServiceUnavailable
from server.limits.keys import Keys
from server.limits.memory import MemoryLimiter
from server.limits.policy import POLICIES, VERIFICATION_MAIL, Policy, Work
from server.limits.redis import PATIENCE_SECONDS, LimiterUnavailable, RedisLimiter, as_redis
from server.limits.service import Limits
from server.operations.health import Dependency
from tests.harness import Answer, ServerProcess, chat_body, exchange, free_port, request_bytes, running
from tests.redis import RedisProcess, redis_running
from tests.server.middleware.visitors import serving
from tests.waiting import ENOUGH_SECONDS, undisturbed

JSON = {"Content-Type": "application/json"}
KEYS = Keys(os.urandom(32))


def anonymous(work: Work) -> Policy:
    """What an anonymous visitor may."""
    policy = POLICIES[work][Tier.ANONYMOUS]
    assert policy is not None
    return policy


CHAT = anonymous(Work.CHAT)
SIGN_UP = anonymous(Work.SIGN_UP)


def question(server: ServerProcess, address: str, request_id: str = "") -> Answer:
    """The answer to a question from `address`."""
    headers = JSON | {"X-Forwarded-For": address} | ({"X-Request-ID": request_id} if request_id else {})
    return exchange(server.address, request_bytes("POST", "/api/v1/chat", headers, chat_body("Hello?")))


def dependencies(server: ServerProcess) -> tuple[int, dict[str, str]]:
    """The status of `/health`, and what it says of what is not the database."""
    answer = exchange(server.address, request_bytes("GET", "/health"))
    found: dict[str, str] = answer.json()["dependencies"]
    return answer.status, found


@pytest.fixture
def own_redis() -> Iterator[RedisProcess]:
    """A Redis that the test may kill."""
    with redis_running() as process:
        yield process


@contextmanager
def counting_in(redis: RedisProcess, folder: Path, **more: str) -> Iterator[ServerProcess]:
    """A server that counts there, behind a proxy of this machine."""
    settings = {"RATE_LIMITS": "true", "TRUSTED_PROXIES": "127.0.0.1", "REDIS_URL": redis.url}
    with running(folder, **settings, **more) as server:
        yield server


@pytest.fixture
def limited(tmp_path: Path, own_redis: RedisProcess) -> Iterator[ServerProcess]:
    with counting_in(own_redis, tmp_path / "server") as server:
        yield server


async def with_a_redis_of_its_own(
    test: Callable[[ServerProcess, RedisProcess], None], folder: Path, **settings: str
) -> None:
    """Run `test` with a server and the Redis in which it counts: for a moment that Redis does not answer it is held to be away."""

    def attempt() -> None:
        with redis_running() as redis, counting_in(redis, folder / uuid4().hex, **settings) as server:
            test(server, redis)

    await undisturbed(partial(asyncio.to_thread, attempt))


async def test_two_workers_allow_together_exactly_what_one_would(tmp_path: Path) -> None:
    def test(limited: ServerProcess, _: RedisProcess) -> None:
        limited.wait_for("server_started", 2)
        statuses: list[int] = []

        def ask() -> None:
            statuses.extend(question(limited, "203.0.113.50").status for _ in range(15))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        events = limited.wait_for("http_request", 60)
        assert len({event["boot"] for event in events}) == 2, "both were asked"
        assert not limited.events("limits_not_shared")
        assert not limited.events("dependency_call", dependency="redis", outcome="failed")
        assert Counter(statuses) == {200: 10, 429: 50}

    await with_a_redis_of_its_own(test, tmp_path, WORKERS="2")


def test_two_workers_without_redis_allow_more_and_say_so_in_development(tmp_path: Path) -> None:
    with running(tmp_path, WORKERS="2", RATE_LIMITS="true") as server:
        server.wait_for("server_started", 2)
        (told,) = server.wait_for("limits_not_shared")
        assert (told["level"], told["workers"]) == ("WARNING", 2)
        statuses: Counter[int] = Counter(question(server, "").status for _ in range(60))
    assert 10 <= statuses[200] <= 20
    assert statuses[429] == 60 - statuses[200]


def test_nothing_in_redis_tells_who_asked(limited: ServerProcess, own_redis: RedisProcess) -> None:
    question(limited, "203.0.113.77")
    keys = own_redis.keys()
    assert len(keys) == 2
    for key in keys:
        assert key.startswith("chatkit:chat/address-")
        assert "203.0.113" not in key
        assert 0 < int(own_redis.ask("TTL", key).removeprefix(":")) <= 86_400, "it forgets by itself"


async def test_while_redis_is_away_questions_are_counted_here_and_it_is_told_once_and_comes_back(
    tmp_path: Path,
) -> None:
    def test(limited: ServerProcess, own_redis: RedisProcess) -> None:
        assert dependencies(limited) == (200, {"redis": "connected"})
        assert [question(limited, "203.0.113.1").status for _ in range(11)] == [200] * 10 + [429]
        own_redis.kill()
        statuses = [question(limited, "203.0.113.1", f"away-{number}").status for number in range(20)]
        assert statuses == [200] * 10 + [429] * 10, "by this worker's own count"
        assert dependencies(limited) == (200, {"redis": "disconnected"})
        assert exchange(limited.address, request_bytes("GET", "/health/ready")).status == 200
        (change,) = limited.wait_for("dependency_state_changed", dependency="redis")
        assert (change["state"], change["level"]) == ("disconnected", "WARNING")
        (call,) = limited.events("dependency_call", dependency="redis", outcome="failed")
        assert call["operation"] == "limit"
        assert call["status"] == change["reason"]

        own_redis.start()
        limited.wait_for("dependency_state_changed", 2, dependency="redis")
        assert dependencies(limited) == (200, {"redis": "connected"})
        assert [question(limited, "203.0.113.1").status for _ in range(11)] == [200] * 10 + [429], (
            "there again"
        )
        assert len(own_redis.keys()) == 2
        assert len(limited.events("dependency_call", dependency="redis", outcome="failed")) == 1

    await with_a_redis_of_its_own(test, tmp_path)


async def test_a_redis_that_hangs_holds_up_those_under_way_for_a_moment_and_nobody_after_them(
    tmp_path: Path,
) -> None:
    def test(limited: ServerProcess, own_redis: RedisProcess) -> None:
        assert question(limited, "203.0.113.2").status == 200
        with own_redis.frozen():
            assert question(limited, "203.0.113.3", "hung").status == 200
            for number in range(20):
                assert question(limited, f"203.0.113.{number + 10}", f"after-{number}").status == 200
            (hung,) = limited.wait_for("http_request", request_id="hung")
            assert hung["limit_ms"] > PATIENCE_SECONDS * 500
            after = [
                limited.wait_for("http_request", request_id=f"after-{number}")[0] for number in range(20)
            ]
            assert sum("limit_ms" not in event for event in after) > 10, "most do not even ask it"
            (change,) = limited.wait_for("dependency_state_changed", dependency="redis")
            assert change["reason"] == "timeout"
        limited.wait_for("dependency_state_changed", 2, dependency="redis")

    await with_a_redis_of_its_own(test, tmp_path)


def test_a_server_starts_without_its_redis_and_says_so(tmp_path: Path) -> None:
    url = f"redis://:hunter2@127.0.0.1:{free_port()}/0"
    with running(tmp_path, RATE_LIMITS="true", REDIS_URL=url) as server:
        (change,) = server.wait_for("dependency_state_changed", dependency="redis")
        assert change["state"] == "disconnected"
        assert dependencies(server) == (200, {"redis": "disconnected"})
        assert [question(server, "").status for _ in range(11)] == [200] * 10 + [429]
        assert server.stop() == 0
        assert server.events("server_started")[0]["settings"]["REDIS_URL"].startswith("redis://:***@127")
        assert b"hunter2" not in b"".join(path.read_bytes() for path in server.log_dir.glob("*.jsonl"))


async def test_what_sends_mail_is_refused_while_redis_is_away(own_redis: RedisProcess) -> None:
    shared = RedisLimiter(own_redis.url)
    await shared.open(Dependency("redis").tell)
    counting = Limits(MemoryLimiter(), shared)
    ada = KEYS.email("ada@example.com")
    async with serving(counting) as ask:
        assert (await ask("/sign_up"))[0] == 200
        await counting.spend(VERIFICATION_MAIL, ada)
        own_redis.kill()
        for _ in range(3):
            status, headers = await ask("/sign_up")
            assert (status, headers["Retry-After"]) == (503, "5")
            with pytest.raises(ServiceUnavailable):
                await counting.spend(VERIFICATION_MAIL, ada)
            assert (await ask("/chat"))[0] == 200
        own_redis.start()
        async with asyncio.timeout(ENOUGH_SECONDS):
            while (await ask("/sign_up"))[0] != 200:
                await asyncio.sleep(0.1)
    await shared.close()


async def test_a_service_is_told_by_an_error_when_to_come_back() -> None:
    counting = Limits(MemoryLimiter())
    ada = KEYS.email("ada@example.com")
    for _ in range(5):
        await counting.spend(VERIFICATION_MAIL, ada)
    with pytest.raises(RateLimited, match="10 minutes") as refused:
        await counting.spend(VERIFICATION_MAIL, KEYS.email("ADA+again@example.com"))
    assert refused.value.retry_after == int(refused.value.headers["Retry-After"]) == 600
    await counting.spend(VERIFICATION_MAIL, KEYS.email("bob@example.com"))
    off = Limits(MemoryLimiter(), enforced=False)
    for _ in range(30):
        await off.spend(VERIFICATION_MAIL, ada)


async def test_without_redis_what_sends_mail_is_counted_here() -> None:
    decisions = [await Limits(MemoryLimiter()).hit(SIGN_UP, KEYS.address("203.0.113.1")) for _ in range(3)]
    assert all(decision.allowed for decision in decisions)


async def test_many_that_lose_redis_at_once_make_one_event_and_one_task(
    own_redis: RedisProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    limiter = RedisLimiter(own_redis.url)
    dependency = Dependency("redis", limiter.ping)
    await limiter.open(dependency.tell)
    own_redis.kill()
    asked = [limiter.hit(CHAT, KEYS.address(str(number))) for number in range(200)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {LimiterUnavailable}
    assert not await dependency.is_connected()
    assert [task.get_name() for task in asyncio.all_tasks()].count("redis-returns") == 1
    told = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert told == ["dependency_call", "dependency_state_changed"]
    await limiter.close()
    assert "redis-returns" not in [task.get_name() for task in asyncio.all_tasks()]


async def test_redis_may_forget_its_scripts_or_everything(own_redis: RedisProcess) -> None:
    limiter = RedisLimiter(own_redis.url)
    await limiter.open(Dependency("redis").tell)
    who = KEYS.address("203.0.113.1")
    assert (await limiter.hit(CHAT, who)).remaining == 9
    own_redis.ask("SCRIPT", "FLUSH")
    assert (await limiter.hit(CHAT, who)).remaining == 8
    own_redis.ask("FLUSHALL")
    assert (await limiter.hit(CHAT, who)).remaining == 9
    await limiter.close()


async def test_redis_is_found_at_a_unix_socket_and_valkey_under_its_own_name(own_redis: RedisProcess) -> None:
    for url in (f"unix://{own_redis.socket}?db=1", own_redis.url.replace("redis", "valkey", 1)):
        limiter = RedisLimiter(url)
        await limiter.open(Dependency("redis").tell)
        assert (await limiter.hit(CHAT, KEYS.address(url))).remaining == 9
        await limiter.close()
    assert as_redis("valkeys://example.com") == "rediss://example.com"
