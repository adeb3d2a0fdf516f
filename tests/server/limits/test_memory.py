"""What is counted in memory is exact by the clock, and stays within its bounds whoever asks."""

import asyncio
import gc
import secrets
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.limits.keys import Key
from server.limits.memory import MAX_KEYS, MemoryLimiter
from server.limits.policy import DAY, MINUTE, Policy, Rate
from tests.cost import least

CHAT = Policy("chat", (Rate(3, MINUTE),))
TWO_RATES = Policy("chat", (Rate(10, MINUTE), Rate(500, DAY)))
ADA = Key("user", "ada")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_place_is_free_again_to_the_very_second(clock: Clock) -> None:
    limiter = MemoryLimiter(clock)
    for _ in range(3):
        await limiter.hit(CHAT, ADA)
        clock.now += 7
    refused = await limiter.hit(CHAT, ADA)
    assert (refused.allowed, refused.seconds) == (False, 40)  # 39 and a millisecond, in whole seconds
    clock.now += 38.999
    assert not (await limiter.hit(CHAT, ADA)).allowed
    clock.now += 0.001
    assert (await limiter.hit(CHAT, ADA)).allowed
    assert (await limiter.hit(CHAT, ADA)).seconds == 8


@given(st.lists(st.floats(0, 40), min_size=1, max_size=200), st.integers(1, 5))
async def test_no_window_holds_more_than_its_rate_and_waiting_as_told_always_helps(
    pauses: list[float], amount: int
) -> None:
    clock = Clock()
    limiter, policy = MemoryLimiter(clock), Policy("any", (Rate(amount, MINUTE),))
    allowed: list[float] = []
    for pause in pauses:
        clock.now += pause
        decision = await limiter.hit(policy, ADA)
        if not decision.allowed:
            assert len(allowed) >= amount
            assert 1 <= decision.seconds <= MINUTE
            clock.now += decision.seconds
            assert (await limiter.hit(policy, ADA)).allowed
        allowed.append(clock.now)
    assert all(
        later - first >= MINUTE - 1e-5 for first, later in zip(allowed, allowed[amount:], strict=False)
    )


async def test_who_comes_down_a_tier_waits_until_the_lower_limit_has_room(clock: Clock) -> None:
    limiter = MemoryLimiter(clock)
    for _ in range(10):
        await limiter.hit(Policy("chat", (Rate(10, MINUTE),)), ADA)
        clock.now += 1
    refused = await limiter.hit(CHAT, ADA)
    assert (refused.allowed, refused.remaining) == (False, 0)
    clock.now += refused.seconds
    assert (await limiter.hit(CHAT, ADA)).allowed


async def flood(limiter: MemoryLimiter, clock: Clock, count: int) -> None:
    """So many ask whom nobody has seen before."""
    for _ in range(count):
        clock.now += 0.0001
        await limiter.hit(TWO_RATES, Key("address", secrets.token_hex(16)))


async def test_a_flood_of_keys_is_bounded_in_memory(clock: Clock) -> None:
    limiter = MemoryLimiter(clock)
    tracemalloc.start()
    await flood(limiter, clock, 150_000)
    gc.collect()
    bytes_held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{bytes_held / 1e6:.1f} MB")
    assert len(limiter) == 2 * MAX_KEYS
    assert bytes_held < 60e6


def test_in_a_flood_nothing_is_looked_through_as_a_whole(clock: Clock) -> None:
    def cost(max_keys: int) -> float:
        limiter = MemoryLimiter(clock, max_keys)
        asyncio.run(flood(limiter, clock, max_keys))
        return least(lambda: asyncio.run(flood(limiter, clock, 2_000)))

    # With a hundred times the keys it may cost a little more, for memory that is farther away; a look at all would cost a hundred times.
    assert cost(50_000) < 10 * cost(500)


async def test_a_flood_makes_the_silent_forgotten_and_not_who_asks_all_the_time(clock: Clock) -> None:
    limiter = MemoryLimiter(clock, max_keys=100)
    silent = Key("user", "silent")
    await limiter.hit(CHAT, silent)
    loud = [(await limiter.hit(CHAT, ADA)).allowed for _ in range(3)]
    for number in range(99):
        await limiter.hit(CHAT, Key("address", str(number)))
    assert loud == [True] * 3
    assert not (await limiter.hit(CHAT, ADA)).allowed
    assert (await limiter.hit(CHAT, silent)).remaining == 2


async def test_what_has_left_its_window_is_dropped_as_others_come(clock: Clock) -> None:
    limiter = MemoryLimiter(clock)
    for number in range(1000):
        await limiter.hit(CHAT, Key("address", str(number)))
    assert len(limiter) == 1000
    clock.now += MINUTE
    for number in range(600):
        await limiter.hit(CHAT, Key("session", str(number)))
    assert len(limiter) == 600
