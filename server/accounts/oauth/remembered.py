"""What a provider publishes, remembered: asked for when it is needed, by one for all who wait, and never too often.

    fresh (an hour) ──► asked for again ──► fresh
                             └── fails ──► the old one goes on for a day

Whoever needs a newer one than it was given, because a key that it should have is missing, may ask once more; but however many ask, and
whatever they make up, the provider hears of it at most every few seconds.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from .upstream import ProviderUnavailable

FRESH_SECONDS = 3_600.0
GOOD_SECONDS = 86_400.0
AGAIN_SECONDS = 5.0

T = TypeVar("T")


class Remembered(Generic[T]):
    """The value of `fetch`, which raises ``ProviderUnavailable`` when there is none. `now` is in seconds."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._now = now
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._fetched_at = self._asked_at = float("-inf")

    async def get(self, than: T | None = None) -> T:
        """The value; with `than` a newer one than that, if one can be had. Raises ``ProviderUnavailable``."""
        if (value := self._value) is not None and self._is_fresh() and value is not than:
            return value
        async with self._lock:
            now = self._now()
            # Whoever had the lock before may have fetched it.
            due = self._value is None or not self._is_fresh() or self._value is than
            if due and now >= self._asked_at + AGAIN_SECONDS:
                await self._ask()
            if self._value is None or now >= self._fetched_at + GOOD_SECONDS:
                raise ProviderUnavailable
            return self._value

    async def _ask(self) -> None:
        self._asked_at = self._now()
        try:
            self._value = await self._fetch()
        except ProviderUnavailable:
            return  # The old one may still do; if there is none, `get` says so.
        self._fetched_at = self._now()

    def _is_fresh(self) -> bool:
        return self._now() < self._fetched_at + FRESH_SECONDS
