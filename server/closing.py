"""What was opened is closed in the opposite order, and all of it in the time that a stop has."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

LEAST_SECONDS = 0.25
"""So long a step may take in any case, though the ones before it have used up the time."""


class Closing:
    """The steps of a stop, for which there are `seconds` in all. One that fails is told to `report`, and keeps no other from being taken."""

    def __init__(self, seconds: float, report: Callable[[Exception], None]) -> None:
        self._seconds = seconds
        self._report = report
        self._until = math.inf
        self._steps = contextlib.AsyncExitStack()

    def then(self, step: Callable[[], object], part: float | None = None) -> None:
        """Something was opened, and `step`, a function or a coroutine's, closes it: before anything that was opened until now.

        It may take that `part` of what is left; without one it sees to that itself.
        """

        async def take() -> None:
            bound = asyncio.timeout(None if part is None else self.left(part))
            try:
                closing = step()
                if isinstance(closing, Awaitable):
                    async with bound:
                        await closing
            except Exception as error:
                if not bound.expired():
                    self._report(error)

        self._steps.push_async_callback(take)

    def begin(self) -> None:
        """The time runs from now on, if it does not yet."""
        if self._until == math.inf:
            self._until = asyncio.get_running_loop().time() + self._seconds

    def left(self, part: float = 1.0, least: float = LEAST_SECONDS) -> float:
        """How many seconds a step may take: that part of what is left, and `least` in any case."""
        return max(least, (self._until - asyncio.get_running_loop().time()) * part)

    async def close(self) -> None:
        """Take every step, the last one that was given first."""
        self.begin()
        await self._steps.aclose()
