"""Rolling response-time windows: what the last 1, 5 and 15 minutes were like, in all and by route.

Durations are counted in logarithmic buckets whose bounds grow by 2 %, so a quantile is within 1 % of the truth (the
scheme of DDSketch, Masson, Rim and Lee, VLDB 2019). Each second has its own counts; a window is a running sum to which a
response is added as it ends and from which its second is taken when that leaves.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from .catalogue import Observation

MINUTES = (1, 5, 15)
LAST = 100
"""How many responses `avg_response_ms` is over."""

_GROWTH = 1.02
_SCALE = 1 / math.log(_GROWTH)
_SMALLEST_MS = 0.01
_OFFSET = -math.log(_SMALLEST_MS) * _SCALE
_MAX_ROUTES = 100
OTHER = "other"
"""Where routes beyond the first hundred are counted, so that no client can make the windows grow."""


def bucket(duration_ms: float) -> int:
    """The number of the bucket that counts `duration_ms`."""
    return 0 if duration_ms <= _SMALLEST_MS else int(math.log(duration_ms) * _SCALE + _OFFSET) + 1


def middle(number: int) -> float:
    """The duration in milliseconds by which a bucket is known: at most 1 % from any in it."""
    return 0.0 if number == 0 else _SMALLEST_MS * _GROWTH ** (number - 1) * 2 * _GROWTH / (1 + _GROWTH)


class _Tally:
    """Counts of one stretch of time: responses by bucket, and how many were errors or limited."""

    __slots__ = ("buckets", "count", "errors", "limited")

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.limited = 0
        self.buckets: Counter[int] = Counter()

    def add(self, number: int, *, error: bool, limited: bool) -> None:
        self.count += 1
        self.errors += error
        self.limited += limited
        self.buckets[number] += 1

    def subtract(self, other: "_Tally") -> None:
        self.count -= other.count
        self.errors -= other.errors
        self.limited -= other.limited
        for number, count in other.buckets.items():
            left = self.buckets[number] - count
            if left:
                self.buckets[number] = left
            else:
                del self.buckets[number]

    def quantiles(self, wanted: Iterable[float]) -> list[float]:
        """Durations (ms) at the `wanted` ranks (0 to 1, ascending), by the nearest rank; zeros when nothing was counted."""
        results: list[float] = []
        ranks = [max(1, math.ceil(quantile * self.count)) for quantile in wanted]
        seen = 0
        for number in sorted(self.buckets):
            seen += self.buckets[number]
            while len(results) < len(ranks) and seen >= ranks[len(results)]:
                results.append(middle(number))
        return results + [0.0] * (len(ranks) - len(results))


class Summary(NamedTuple):
    """One window as it stands: durations in milliseconds, the rate in percent."""

    requests: int
    errors: int
    error_rate_percent: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Totals(NamedTuple):
    """Everything since the start, and the mean of the last hundred responses (ms)."""

    requests: int
    errors: int
    limited: int
    average_ms: float


class _Series:
    """The windows of one route, or of all."""

    def __init__(self) -> None:
        self.total = _Tally()
        self.sum_ms = 0.0
        self._windows = {minutes: _Tally() for minutes in MINUTES}
        self._seconds: dict[int, _Tally] = {}
        self._expired = dict.fromkeys(MINUTES, -1)

    def add(self, second: int, observation: Observation) -> None:
        number = bucket(observation.duration_ms)
        error, limited = observation.error, observation.limited
        self.sum_ms += observation.duration_ms
        self.total.add(number, error=error, limited=limited)
        tally = self._seconds.get(second)
        if tally is None:
            self.advance(second)
            tally = self._seconds[second] = _Tally()
        tally.add(number, error=error, limited=limited)
        for minutes, window in self._windows.items():
            if second > self._expired[minutes]:  # What comes late may have left the window before it came.
                window.add(number, error=error, limited=limited)

    def advance(self, second: int) -> None:
        """Take out of each window the seconds that have left it by `second`."""
        for minutes, window in self._windows.items():
            oldest = second - minutes * 60 + 1
            for past in [at for at in self._seconds if self._expired[minutes] < at < oldest]:
                window.subtract(self._seconds[past])
            self._expired[minutes] = max(self._expired[minutes], oldest - 1)
        horizon = second - max(MINUTES) * 60 + 1
        for past in [at for at in self._seconds if at < horizon]:
            del self._seconds[past]

    def summaries(self, second: int) -> dict[int, Summary]:
        self.advance(second)
        result = {}
        for minutes, window in self._windows.items():
            quantiles = window.quantiles((0.5, 0.95, 0.99))
            result[minutes] = Summary(
                window.count, window.errors, percent(window.errors, window.count), *quantiles
            )
        return result


class Windows:
    """All windows of one server. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = _Series()
        self._routes: dict[str, _Series] = {}
        self._last: deque[float] = deque(maxlen=LAST)

    def observe(self, observation: Observation, at: float | None = None) -> None:
        """Count one response that ended `at` (seconds of the clock, None for now), also when that is a while ago."""
        second = int(self._clock() if at is None else at)
        self._last.append(observation.duration_ms)
        self._all.add(second, observation)
        series = self._routes.get(observation.route)
        if series is None:
            name = observation.route if len(self._routes) < _MAX_ROUTES else OTHER
            series = self._routes.setdefault(name, _Series())
        series.add(second, observation)

    def totals(self) -> Totals:
        """Everything counted so far."""
        total = self._all.total
        average = sum(self._last) / len(self._last) if self._last else 0.0
        return Totals(total.count, total.errors, total.limited, average)

    def summaries(self) -> dict[int, Summary]:
        """Minutes → the window over all routes."""
        return self._all.summaries(int(self._clock()))

    def by_route(self) -> dict[str, dict[int, Summary]]:
        """Route → minutes → its window."""
        second = int(self._clock())
        return {route: series.summaries(second) for route, series in sorted(self._routes.items())}

    def histograms(self, bounds_ms: Iterable[float]) -> Mapping[str, dict[str, Any]]:
        """Route → its responses since the start.

        `counts` holds how many took at most each of the ascending `bounds_ms`; beside it `count`, `errors`, `limited` and
        `sum_ms`.
        """
        bounds = list(bounds_ms)
        result: dict[str, dict[str, Any]] = {}
        for route, series in sorted(self._routes.items()):
            counts = [0] * len(bounds)
            for number, count in series.total.buckets.items():
                duration = middle(number)
                for index, bound in enumerate(bounds):
                    if duration <= bound:
                        counts[index] += count
            total = series.total
            result[route] = {
                "counts": counts,
                "count": total.count,
                "errors": total.errors,
                "limited": total.limited,
                "sum_ms": series.sum_ms,
            }
        return result


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in percent with two decimals; 0.0 of nothing."""
    return round(100 * part / whole, 2) if whole else 0.0
