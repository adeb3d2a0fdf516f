"""What is kept only for a time is deleted when that is over: every ten minutes, in every process (`server.store.forgetting`)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from server.store.engine import StoreUnavailable

EVERY_SECONDS = 600.0


async def tidy(jobs: Sequence[Callable[[], Awaitable[None]]], every: float = EVERY_SECONDS) -> None:
    """Do every job now and each `every` seconds, until cancelled; a database that is away is asked again the next time."""
    while True:
        for job in jobs:
            with contextlib.suppress(StoreUnavailable):
                await job()
        await asyncio.sleep(every)
