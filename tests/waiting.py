"""Waiting for what must come true.

How long that takes is no measure of anything: a test says what ends a thing, by what came of it, and these bounds only end a test that never
would. A machine that others use too may stand still for seconds.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

ENOUGH_SECONDS = 60.0


def until(true: Callable[[], T | None], what: object = "", seconds: float = ENOUGH_SECONDS) -> T:
    """What `true` says once that is true; `what` is awaited, for who reads that it never came. Threads and processes go on meanwhile."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what or 'what was awaited'}"
        time.sleep(0.02)
    return found


async def soon(true: Callable[[], T | None]) -> T:
    """The same within a loop, whose tasks go on meanwhile."""
    async with asyncio.timeout(ENOUGH_SECONDS):
        while not (found := true()):
            await asyncio.sleep(0.005)
    return found


async def undisturbed(
    attempt: Callable[[], Awaitable[None]], lag_seconds: float = 0.1, times: int = 5
) -> None:
    """Try what goes by the real time, such as a limit for a second, until it holds in a run in which the machine did not stand still.

    Only then does it count that it does not hold.
    """
    for left in reversed(range(times)):
        watching = asyncio.create_task(_stood_still(lag_seconds))
        await asyncio.sleep(0)
        try:
            await attempt()
        except AssertionError:
            await asyncio.sleep(0.05)  # it hears of it
            if not left or not watching.done():
                raise
        else:
            return
        finally:
            watching.cancel()


async def _stood_still(seconds: float) -> None:
    """Ends when the loop did not go on for so long."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.01)
        if time.monotonic() - began > 0.01 + seconds:
            return
