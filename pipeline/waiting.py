"""The queue between `emit` and the writer: an `asyncio.Queue` of small tuples, never of bytes.

The ring bounds what waits, so the queue need not; and whoever takes from it takes everything, so that the cost of an event falls
as the load rises.
"""

import asyncio
from collections import deque
from typing import Any

from .catalogue import Observe

Waiting = tuple[int, int, Observe | None, dict[str, Any]]
"""One event: its number in the ring (0 when there was no room for it), its level, and what the windows need to count it."""

WAKE: Waiting = (0, 0, None, {})
"""No event: something else to look at."""


class WaitingEvents(asyncio.Queue[Waiting]):
    """Events in the order in which they were put into the ring, from whatever thread."""

    # asyncio's places for what a queue holds, and for who waits for it.
    _queue: deque[Waiting]
    _getters: deque[asyncio.Future[None]]

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()

    def put_nowait(self, item: Waiting) -> None:
        """As asyncio's, without its bounds and its count of unfinished tasks, which nobody asks for: half the time."""
        self._queue.append(item)
        if self._getters:
            self._wakeup_next(self._getters)  # type: ignore[attr-defined]

    def put_from_thread(self, item: Waiting) -> None:
        """As `put_nowait`, from another thread. Raises ``RuntimeError`` when the loop has ended; the item is there all the same."""
        self._queue.append(item)  # at once, so that the order stays; only waking belongs to the loop
        self._loop.call_soon_threadsafe(self.put_nowait, WAKE)

    async def first(self) -> Waiting:
        """The first of what waits, left where it is."""
        item = await self.get()
        self._queue.appendleft(item)
        return item

    def take(self) -> list[Waiting]:
        """Everything that waits."""
        popleft = self._queue.popleft
        return [popleft() for _ in range(len(self._queue))]
