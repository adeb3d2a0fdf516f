"""Waiting for what must come true.

How long that takes is no measure of anything: a test says what ends a thing, by what came of it, and these bounds only end a test that never
would. A machine that others use too may stand still for seconds.
"""

import asyncio
import time
from collections.abc import Callable
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
