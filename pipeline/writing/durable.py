"""Who waits for a line to be flushed, and is told when it is, or that it will not be."""

import asyncio

from pipeline.log import NotDurable


class Durable:
    """All who wait; one flush serves all whose lines it covers."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def until_flushed(self, number: int) -> None:
        """Return when line `number` is flushed. Raises ``NotDurable``."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((number, done))
        await done

    def flushed(self, number: int) -> None:
        """Lines up to that number are."""
        waiting, self._waiting = self._waiting, []
        for waited, done in waiting:
            if waited > number:
                self._waiting.append((waited, done))
            elif not done.done():
                done.set_result(None)

    def refuse(self, reason: str) -> None:
        """It will not come."""
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            if not done.done():
                done.set_exception(NotDurable(f"the event log cannot be written: {reason}"))
