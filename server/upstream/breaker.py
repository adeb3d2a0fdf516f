"""A circuit breaker: what keeps failing is left alone for a while, so that nobody waits for it in vain.

                 failures in a row, or half of the recent calls
        closed ────────────────────────────────────────────────► open
          ▲                                                       │ its time is over
          │ the probe is answered                                 ▼
          └──────────────────────────────────────────────────  half-open: one call goes through, the probe
                                                                  │ the probe fails
                                                                  └──► open, for twice as long

It knows no network and no log: a call asks to be admitted and says how it ended, and whoever made the breaker hears of changes. What
a call says that was admitted before the last change is out of date and changes nothing. The pattern is Michael Nygard's
("Release It!", 2007).
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

State = Literal["closed", "open", "half_open"]

RECENT_CALLS = 20
"""Of so many calls, half must fail for the breaker to open although some succeed."""
RECENT_SECONDS = 120.0
"""Calls that ended longer ago say nothing about now."""
LONGEST_OPEN_SECONDS = 60.0
"""However often a probe fails: a visitor should not wait longer than this for an upstream that is well again."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """When a breaker opens, and for how long: `failures` in a row, and `open_seconds` the first time."""

    failures: int = 5
    open_seconds: float = 10.0


def _unheard(*, connected: bool, reason: str) -> None:
    """Nobody listens."""


class Breaker:
    """The breaker of one upstream. `changed` hears when it opens (`connected` is false) and when it closes again.

    `clock` gives seconds that never go back.
    """

    def __init__(
        self,
        tolerance: Tolerance = Tolerance(),
        *,
        changed: Callable[..., None] = _unheard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tolerance = tolerance
        self._changed = changed
        self._clock = clock
        self._recent: deque[tuple[float, bool]] = deque(maxlen=RECENT_CALLS)
        self._in_a_row = 0
        self._opened = 0  # how many times since it was last closed
        self._until = 0.0
        self._probing = False
        self._era = 0
        self.ever_answered = False

    @property
    def state(self) -> State:
        """What a call would find now."""
        if not self._opened:
            return "closed"
        return "half_open" if self._clock() >= self._until else "open"

    @property
    def retry_seconds(self) -> float:
        """How long until a call may be tried; 0 when one may now."""
        return max(0.0, self._until - self._clock()) if self._opened else 0.0

    def admit(self) -> "Attempt | None":
        """A call that may be made, or None. Use it as a context: one that ends without a word was given up by its caller."""
        state = self.state
        if state == "open" or (state == "half_open" and self._probing):
            return None
        self._probing = state == "half_open"
        return Attempt(self, self._era)

    def _answered(self, era: int) -> None:
        self.ever_answered = True
        if era == self._era and self._opened:
            self._close()

    def _succeeded(self, era: int) -> None:
        self._answered(era)
        self._in_a_row = 0
        self._recent.append((self._clock(), True))

    def _failed(self, era: int, reason: str, seconds: float) -> None:
        if era != self._era:
            return
        now = self._clock()
        self._recent.append((now, False))
        self._in_a_row += 1
        failures = sum(not good for at, good in self._recent if now - at <= RECENT_SECONDS)
        often = len(self._recent) == RECENT_CALLS and failures >= RECENT_CALLS // 2
        if self._opened or often or self._in_a_row >= self._tolerance.failures:
            self._open(now, reason, seconds)

    def _open(self, now: float, reason: str, seconds: float) -> None:
        first = self._tolerance.open_seconds
        longest = max(first, LONGEST_OPEN_SECONDS)
        again = self._opened > 0
        self._until = now + min(longest, max(seconds, first * 2 ** min(self._opened, 16)))
        self._opened += 1
        self._probing = False
        self._era += 1
        if not again:
            self._changed(connected=False, reason=reason)

    def _close(self) -> None:
        self._opened = self._in_a_row = 0
        self._recent.clear()
        self._probing = False
        # The era stays: the probe that closed it is still under way, and how it ends counts.
        self._changed(connected=True, reason="")

    def _given_up(self, era: int) -> None:
        if era == self._era:
            self._probing = False


class Attempt:
    """One call that was admitted; it says once how it ended, and perhaps before that it is being answered."""

    def __init__(self, breaker: Breaker, era: int) -> None:
        self._breaker = breaker
        self._era = era
        self._told = False

    def answered(self) -> None:
        """The upstream has begun to answer: a probe need not end before others may call."""
        self._breaker._answered(self._era)  # noqa: SLF001 - the other half of one thing

    def succeeded(self) -> None:
        """All went well."""
        self._told = True
        self._breaker._succeeded(self._era)  # noqa: SLF001

    def failed(self, reason: str, seconds: float = 0.0) -> None:
        """The upstream failed, for `reason`; it asked to be left alone for `seconds`."""
        self._told = True
        self._breaker._failed(self._era, reason, seconds)  # noqa: SLF001

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._told:
            self._breaker._given_up(self._era)  # noqa: SLF001
