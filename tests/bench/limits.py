"""What counting costs a question: in memory, in the memory of the library that counts in Redis, and in Redis.

    python -m tests.bench.limits

Each round every contender runs in a process of its own, imports what it needs and counts 10,000 anonymous visitors (in Redis 1,000), one after
the other, each for 10 a minute and 500 a day, as the server does. What is left to be done when the last has been counted (the library looks
through all keys) is a figure of its own. One promise: in memory it costs at most 25 µs.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter, process_time
from typing import Any

from server.accounts.visitor import Tier
from server.limits.keys import Key
from server.limits.memory import MemoryLimiter
from server.limits.policy import POLICIES, Work
from tests.bench.contest import Figures, Promise, apart, interleaved, medians, report, table, told

ROUNDS = 5
VISITORS = 10_000
VISITORS_IN_REDIS = 1_000
PROMISED_US = 25.0
CHAT = POLICIES[Work.CHAT][Tier.ANONYMOUS]

Hit = Callable[[Key], Awaitable[object]]


async def chatkit() -> Figures:
    """In memory."""
    limiter = MemoryLimiter()
    assert CHAT is not None
    return await counted(partial(limiter.hit, CHAT))


async def library() -> Figures:
    """The library's own memory storage, asked and told as its Redis storage is."""
    began = perf_counter()
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import MemoryStorage
    from limits.aio.strategies import MovingWindowRateLimiter

    import_ms = (perf_counter() - began) * 1e3
    assert CHAT is not None
    items = [RateLimitItemPerSecond(rate.amount, rate.seconds) for rate in CHAT.rates]
    storage = MemoryStorage()
    windows = MovingWindowRateLimiter(storage)

    async def hit(key: Key) -> None:
        for item in items:
            await windows.get_window_stats(item, key.digest)
            await windows.hit(item, key.digest)

    figures = await counted(hit)
    began = process_time()
    if storage.timer is not None:
        await storage.timer
    return figures | {"import_ms": import_ms, "left_ms": (process_time() - began) * 1e3}


async def redis() -> Figures:
    """In a Redis on this machine."""
    from server.limits.redis import RedisLimiter
    from server.operations.health import Dependency
    from tests.redis import redis_running

    assert CHAT is not None
    with redis_running() as server:
        began = perf_counter()
        limiter = RedisLimiter(server.url)
        import_ms = (perf_counter() - began) * 1e3
        await limiter.open(Dependency("redis").tell)
        figures = await counted(partial(limiter.hit, CHAT), VISITORS_IN_REDIS)
        await limiter.close()
    return figures | {"import_ms": import_ms}


async def counted(hit: Hit, visitors: int = VISITORS) -> Figures:
    """Microseconds a visitor, of this process's time and of the clock's."""
    began, spent = perf_counter(), process_time()
    for number in range(visitors):
        await hit(Key("address", f"{number:032x}"))
    return {
        "cpu_us": (process_time() - spent) / visitors * 1e6,
        "us": (perf_counter() - began) / visitors * 1e6,
    }


CONTENDERS = {"ChatKit, memory": chatkit, "limits, memory": library, "ChatKit, Redis": redis}


def main() -> dict[str, Any]:
    """Measure and print."""
    figures = medians(
        interleaved({name: partial(apart, "tests.bench.limits", name) for name in CONTENDERS}, ROUNDS)
    )
    promises = [Promise("a visitor counted in memory, µs", figures["ChatKit, memory"]["cpu_us"], PROMISED_US)]
    columns = {
        "cpu_us": "CPU, µs",
        "us": "in all, µs",
        "left_ms": "left over, ms",
        "import_ms": "imports, ms",
    }
    print(table(figures, columns), "", told(promises), sep="\n")
    return report(figures, promises)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(asyncio.run(CONTENDERS[sys.argv[1]]())))
    else:
        main()
