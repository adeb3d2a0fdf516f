"""Counts in this process's memory: exact for one process, and bounded whoever asks.

For each key the moments of what was allowed, eight bytes each. Keys lie in the order in which they were last counted, so those whose
window is over are in front, and each count drops up to two of them: no task, no thread, and no pause in which everything is looked
through. When there are too many keys the one that was silent the longest is forgotten; it is the one that a limit would hold the least.
"""

import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from .keys import Key
from .limiter import Decision, standing
from .policy import Policy, Rate

MAX_KEYS = 50_000
"""How many keys are remembered for each length of window: about 20 MB, and eight bytes for each moment beyond the first few."""

_ROUNDING_SECONDS = 1e-6
"""A window ends so much early, because times that are added and subtracted again are not quite the same."""

Moments: TypeAlias = "array[float]"  # an array can be subscripted only since Python 3.12


class MemoryLimiter:
    """Counts for as long as the process lives. `clock` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._windows: dict[int, _Windows] = {}

    async def hit(self, policy: Policy, *keys: Key) -> Decision:
        """As `server.limits.limiter.Limiter` says; waits for nothing."""
        now = self._clock()
        asked = [self._asked(policy, key, rate, now) for key in keys for rate in policy.rates]
        decision = Decision.tightest(one for one, _, _, _ in asked)
        if decision.allowed:
            for _, windows, name, moments in asked:
                windows.add(name, moments, now)
        return decision

    def __len__(self) -> int:
        """How many keys are remembered."""
        return sum(map(len, self._windows.values()))

    def _asked(
        self, policy: Policy, key: Key, rate: Rate, now: float
    ) -> tuple[Decision, "_Windows", str, Moments]:
        windows = self._windows.get(rate.seconds)
        if windows is None:
            windows = self._windows[rate.seconds] = _Windows(rate.seconds, self._max_keys)
        name = f"{policy.name}/{key.kind}/{key.digest}"
        moments = windows.moments(name, now)
        limit = rate.amount * key.times
        # Who had a larger limit a moment ago may have more in the window than the present one allows.
        next_to_leave = moments[max(0, len(moments) - limit)] if moments else now
        left = next_to_leave + rate.seconds - now
        return standing(policy, key, rate, len(moments), left), windows, name, moments


class _Windows(OrderedDict[str, "array[float]"]):
    """The moments by key, within windows of one length; the key that was counted last is at the end."""

    def __init__(self, seconds: int, max_keys: int) -> None:
        super().__init__()
        self._seconds = seconds
        self._max_keys = max_keys

    def moments(self, name: str, now: float) -> Moments:
        """Those that are still in the window, oldest first."""
        moments = self.get(name)
        if moments is None:
            return array("d")
        del moments[: bisect_right(moments, now - self._seconds + _ROUNDING_SECONDS)]
        return moments

    def add(self, name: str, moments: Moments, now: float) -> None:
        """Count one now."""
        moments.append(now)
        self[name] = moments
        self.move_to_end(name)
        for _ in range(2):
            oldest = next(iter(self.values()))
            if not oldest or oldest[-1] <= now - self._seconds:
                self.popitem(last=False)
        while len(self) > self._max_keys:
            self.popitem(last=False)
