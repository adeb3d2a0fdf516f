"""What every `Limiter` promises, wherever it counts."""

import asyncio
import itertools
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from server.limits import redis
from server.limits.keys import Key
from server.limits.limiter import Decision, Limiter
from server.limits.memory import MemoryLimiter
from server.limits.policy import MINUTE, Policy, Rate
from server.limits.redis import RedisLimiter
from server.operations.health import Dependency
from tests.redis import RedisProcess
from tests.waiting import undisturbed

Opened = AbstractAsyncContextManager[Limiter]


@asynccontextmanager
async def _memory(_: str) -> AsyncIterator[Limiter]:
    yield MemoryLimiter()


@asynccontextmanager
async def _redis(url: str) -> AsyncIterator[Limiter]:
    limiter = RedisLimiter(url)
    await limiter.open(Dependency("redis").tell)
    yield limiter
    await limiter.close()


IMPLEMENTATIONS: dict[str, Callable[[str], Opened]] = {"memory": _memory, "redis": _redis}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long Redis is waited for is the server's affair (`tests/server/limits/test_shared.py`), not the seam's."""
    monkeypatch.setattr(redis, "PATIENCE_SECONDS", 10.0)


@pytest.fixture(params=IMPLEMENTATIONS)
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[Limiter]:
    url = ""
    if request.param == "redis":
        server = request.getfixturevalue("redis")
        assert isinstance(server, RedisProcess)
        url = server.url
    async with IMPLEMENTATIONS[request.param](url) as opened:
        yield opened


def policy(*rates: Rate) -> Policy:
    return Policy(f"test-{secrets.token_hex(8)}", rates)


def key(kind: str = "address") -> Key:
    return Key(kind, secrets.token_hex(8))


def told(decision: Decision) -> tuple[bool, int, int]:
    return decision.allowed, decision.limit, decision.remaining


async def test_so_many_are_allowed_and_no_more(limiter: Limiter) -> None:
    rule, who = policy(Rate(3, MINUTE)), key()
    decisions = [await limiter.hit(rule, who) for _ in range(5)]
    assert [told(one) for one in decisions] == [
        (True, 3, 2), (True, 3, 1), (True, 3, 0), (False, 3, 0), (False, 3, 0),
    ]  # fmt: skip
    assert {(one.policy, one.kind) for one in decisions} == {(rule.name, "address")}
    assert all(50 < one.seconds <= MINUTE for one in decisions)


async def test_who_waits_as_long_as_told_is_let_in_and_who_does_not_is_not(limiter: Limiter) -> None:
    async def attempt() -> None:
        rule, who = policy(Rate(2, 3)), key()
        await limiter.hit(rule, who)
        await asyncio.sleep(1.5)
        await limiter.hit(rule, who)
        refused = await limiter.hit(rule, who)
        assert (refused.allowed, refused.seconds) == (False, 2)  # 1.5 of them, in whole seconds
        await asyncio.sleep(1.0)
        again = await limiter.hit(rule, who)
        assert (again.allowed, again.seconds) == (False, 1)
        await asyncio.sleep(again.seconds)
        assert told(await limiter.hit(rule, who)) == (True, 2, 0)  # one place, not two: the window moves
        assert not (await limiter.hit(rule, who)).allowed

    await undisturbed(attempt)


async def test_there_is_no_edge_at_which_twice_as_many_get_through(limiter: Limiter) -> None:
    rule, who = policy(Rate(4, 1)), key()
    loop = asyncio.get_running_loop()
    allowed = []
    until = loop.time() + 2.6
    while loop.time() < until:
        at = loop.time()
        if (await limiter.hit(rule, who)).allowed:
            allowed.append((at, loop.time()))
        await asyncio.sleep(0.02)
    assert len(allowed) >= 8
    for first, fifth in zip(allowed, allowed[4:], strict=False):
        assert fifth[1] - first[0] >= 1.0


async def test_one_key_does_not_use_up_what_another_has(limiter: Limiter) -> None:
    rule, one, other = policy(Rate(2, MINUTE)), key(), key()
    for _ in range(10):
        await limiter.hit(rule, one)
    assert told(await limiter.hit(rule, other)) == (True, 2, 1)
    assert told(await limiter.hit(policy(Rate(2, MINUTE)), one)) == (True, 2, 1), "nor one policy another's"


async def test_every_key_must_have_room_and_what_is_refused_counts_for_none(limiter: Limiter) -> None:
    rule, address = policy(Rate(3, MINUTE)), key()
    for _ in range(3):
        assert (await limiter.hit(rule, key("session"), address)).allowed  # a fresh session each time
    session = key("session")
    for _ in range(5):
        refused = await limiter.hit(rule, session, address)
        assert (refused.allowed, refused.kind) == (False, "address")
    assert told(await limiter.hit(rule, session)) == (True, 3, 2)


async def test_every_rate_must_have_room_and_the_tightest_is_told_of(limiter: Limiter) -> None:
    async def attempt() -> None:
        rule, who = policy(Rate(2, 1), Rate(3, MINUTE)), key()
        assert told(await limiter.hit(rule, who)) == (True, 2, 1)
        assert told(await limiter.hit(rule, who)) == (True, 2, 0)
        short = await limiter.hit(rule, who)
        assert (*told(short), short.seconds) == (False, 2, 0, 1)
        await asyncio.sleep(1.05)
        assert told(await limiter.hit(rule, who)) == (True, 3, 0)
        long = await limiter.hit(rule, who)
        assert told(long) == (False, 3, 0)
        assert 55 <= long.seconds <= MINUTE

    await undisturbed(attempt)


async def test_a_key_that_stands_for_many_is_allowed_as_many_times_as_much(limiter: Limiter) -> None:
    rule, office = policy(Rate(2, MINUTE)), key()._replace(times=3)
    assert Counter([(await limiter.hit(rule, office)).allowed for _ in range(9)]) == {True: 6, False: 3}


async def test_of_those_who_ask_at_once_exactly_so_many_get_through(limiter: Limiter) -> None:
    rule, who, other = policy(Rate(10, MINUTE), Rate(500, 86_400)), key(), key("session")
    decisions = await asyncio.gather(*(limiter.hit(rule, who, other) for _ in range(40)))
    assert Counter(decision.allowed for decision in decisions) == {True: 10, False: 30}
    assert all(1 <= one.seconds <= MINUTE for one in decisions if not one.allowed)


async def test_several_that_count_in_one_redis_count_together(redis: RedisProcess) -> None:
    rule, who = policy(Rate(10, MINUTE)), key()
    async with _redis(redis.url) as one, _redis(redis.url) as other:
        turns = itertools.islice(itertools.cycle([one, other]), 30)
        decisions = await asyncio.gather(*(limiter.hit(rule, who) for limiter in turns))
    assert Counter(decision.allowed for decision in decisions) == {True: 10, False: 20}
