"""What the server's responses were like: totals since ever, and windows over the last 1, 5 and 15 minutes, by route and in all.

Each worker counts into a figures file of its own (see `file`), and whichever is asked adds up all of them. Totals outlive
the process, however it ends: `commit` is told up to which event of the worker's ring they count, and stores totals and that number
in one step; after a kill the events that the ring still has are observed again if they are beyond `counted`.
The windows of a worker that has been silent for ten seconds do not count any more; its totals always do.

    windows = Windows(state_dir / "worker-1.windows")
    windows.observe(Observation("/", 12.5, error=False, limited=False))      # from any thread
    windows.commit(1042)                                                     # once a batch, in one thread
    windows.tick()                                                           # once a second, in the same
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import floor, log
from operator import add, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.catalogue import Observed

from .file import (
    BOUNDS_SECONDS,
    ERRORS,
    EVERYTHING,
    LAST,
    LIMITED,
    PUBLISHED,
    ROUTES,
    SUM_MS,
    WIDTH,
    Page,
    Reading,
    others,
    told,
)
from .own_file import FiguresFile
from .rolling import (
    BUCKETS,
    ERROR_COLUMN,
    LARGEST_MS,
    MINUTES,
    OFFSET,
    SCALE,
    SMALLEST_MS,
    Rolling,
    bucket,
    merged,
    middle,
    quantiles,
    sane,
)

OTHER = "other"
"""Where routes beyond the first hundred are counted, so that no client can make the windows grow."""
BOUNDS_MS = tuple(bound * 1000 for bound in BOUNDS_SECONDS)
SILENT_SECONDS = 10
_BOUND_OF = [sum(middle(number) > bound for bound in BOUNDS_MS) for number in range(BUCKETS)]


class Summary(NamedTuple):
    """One window as it stands: durations in milliseconds, the rate in percent."""

    requests: int
    errors: int
    error_rate_percent: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Totals(NamedTuple):
    """Everything that was ever counted, and the mean of the last hundred responses (ms)."""

    requests: int
    errors: int
    limited: int
    average_ms: float


class Windows:
    """The windows of one worker, in the file at `path` or in private memory, and the answers for all workers beside it.

    `clock` gives seconds that never go back, and that all workers share until the machine starts again, which `boot` tells.
    """

    def __init__(
        self, path: Path | None = None, clock: Callable[[], float] = time.monotonic, boot: str | None = None
    ) -> None:
        self.path = path
        self._clock = clock
        self._boot = _boot_of_machine() if boot is None else boot
        self._file = FiguresFile(path, self._boot)
        second = int(clock())
        self._rolling = Rolling(self._file, second)
        self._next_second = second + 1
        begun = self._file.begun
        self._counted = begun.counted
        self._changed = False
        self._totals = [*begun.totals.values()]
        self._rows = {name: (self._rolling.add_row(), totals) for name, totals in begun.totals.items()}
        # Of responses before the machine started again we know only that they were earlier.
        before = [at if self._file.same_boot else 0.0 for at, _ in begun.last]
        self._last_at = [-1.0] * (LAST - len(before)) + before
        self._last_ms = [0.0] * (LAST - len(before)) + [ms for _, ms in begun.last]
        self._waiting: list[Observed] = []
        self._file.live(second)

    @property
    def counted(self) -> int:
        """All events of the ring up to this number are in the totals."""
        return self._counted

    @property
    def damaged(self) -> Path | None:
        """Where a file that could not be read was set aside."""
        return self._file.damaged

    @property
    def failure(self) -> OSError | None:
        """Why the figures are in private memory although a file was asked for."""
        return self._file.failure

    def observe(self, observation: Observed) -> None:
        """Count a response, at the next commit."""
        self._waiting.append(observation)

    def observe_all(self, observed: Iterable[Observed]) -> None:
        """As `observe`, for many."""
        self._waiting += observed

    def commit(self, counted: int | None = None) -> None:
        """Count what was observed, for good. `counted` says up to which event of the ring that is, if further than before."""
        self._count()
        if counted is not None and counted != self._counted:
            self._counted, self._changed = counted, True
        if self._changed:
            self._file.commit(self._counted, self._totals, self._last_at + self._last_ms)
            self._changed = False

    def tick(self) -> None:
        """Commit, and let the windows go on with the clock."""
        self.commit()
        now = self._clock()
        self._advance(now)
        self._file.live(int(now))

    def close(self) -> None:
        """Keep everything, and let go of the file."""
        self.tick()
        self._rolling.close()
        self._file.close()

    def publish(self, **values: float) -> None:
        """Tell other workers some of `file.PUBLISHED`; a counter as it is since this process began."""
        self._file.publish(values)

    def published(self) -> dict[str, float]:
        """What all workers tell of themselves: counters and sums added, of the others the worst; see `file.PUBLISHED`."""
        with self._look() as (readings, live):
            told = [(reading in live, reading.published()) for reading in readings]
        result = {}
        for name, kind in PUBLISHED.items():
            values = [values[name] for lives, values in told if lives or kind == "counter"]
            if kind != "own":
                result[name] = max(values) if kind == "worst" else sum(values)
        return result

    def workers(self) -> list[dict[str, float]]:
        """What each living worker tells of itself, this one first."""
        with self._look() as (_, live):
            return [reading.published() for reading in live]

    def totals(self) -> Totals:
        """Everything counted so far."""
        pages = self._pages()
        totals = [sum(column) for column in zip(*_added(pages).values(), strict=True)] or [0.0] * WIDTH
        last = sorted((response for page in pages for response in page.last), key=itemgetter(0))[-LAST:]
        average = sum(sane(ms) for _, ms in last) / len(last) if last else 0.0
        return Totals(int(sum(totals[:ERRORS])), int(totals[ERRORS]), int(totals[LIMITED]), average)

    def summaries(self) -> dict[int, Summary]:
        """Minutes → the window over all routes."""
        with self._look() as (_, live):
            return _summaries([(reading, EVERYTHING) for reading in live])

    def by_route(self) -> dict[str, dict[int, Summary]]:
        """Route → minutes → its window."""
        places: dict[str, list[tuple[Reading, int]]] = {}
        with self._look() as (_, live):
            for reading in live:
                for row, name in enumerate((reading.page() or Page()).totals):
                    places.setdefault(name, []).append((reading, row))
            return {name: _summaries(found) for name, found in sorted(places.items())}

    def histograms(self, bounds_ms: Iterable[float] = BOUNDS_MS) -> Mapping[str, dict[str, Any]]:
        """Route → its responses since ever.

        `counts` holds how many took at most each of `BOUNDS_MS`; beside it `count`, `errors`, `limited` and `sum_ms`.
        Raises ``ValueError`` for other bounds.
        """
        if tuple(bounds_ms) != BOUNDS_MS:
            raise ValueError("responses are counted by BOUNDS_MS")
        result: dict[str, dict[str, Any]] = {}
        for route, totals in sorted(_added(self._pages()).items()):
            counts = [int(sum(totals[: place + 1])) for place in range(ERRORS)]
            result[route] = {
                "counts": counts[:-1],
                "count": counts[-1],
                "errors": int(totals[ERRORS]),
                "limited": int(totals[LIMITED]),
                "sum_ms": totals[SUM_MS],
            }
        return result

    def _count(self) -> None:
        """Move what waits into totals and windows. Every instruction of the loop is paid for by every response."""
        found = self._waiting[:]
        if not found:
            return
        del self._waiting[: len(found)]  # Other threads may have added more.
        now = self._clock()
        if now >= self._next_second:
            self._advance(now)
        rows, bound_of = self._rows, _BOUND_OF
        scale, offset, smallest, largest = SCALE, OFFSET, SMALLEST_MS, LARGEST_MS
        for route, duration_ms, error, limited in found:
            counts, totals = rows.get(route) or rows[self._name(route)]
            if smallest < duration_ms < largest:
                column = floor(log(duration_ms) * scale + offset)
                totals[SUM_MS] += duration_ms
            else:
                column = bucket(duration_ms)
                totals[SUM_MS] += sane(duration_ms)
            counts[column] += 1
            totals[bound_of[column]] += 1.0
            if error:
                counts[ERROR_COLUMN] += 1
                totals[ERRORS] += 1.0
            if limited:
                totals[LIMITED] += 1.0
        self._last_ms = (self._last_ms + [one[1] for one in found[-LAST:]])[-LAST:]
        self._last_at = (self._last_at + [now] * len(found))[-LAST:]
        self._changed = self._rolling.counted = True

    def _advance(self, now: float) -> None:
        self._next_second = self._rolling.advance(int(now))

    def _name(self, route: str) -> str:
        """Under which name a route is counted that is new, or has a name too long, or comes after the first hundred."""
        name = told(route)
        if name not in self._rows and len(self._rows) >= ROUTES - 1:
            name = OTHER
        if name not in self._rows:
            self._file.name(name)
            self._totals.append([0.0] * WIDTH)
            self._rows[name] = (self._rolling.add_row(), self._totals[-1])
        return name

    @contextmanager
    def _look(self) -> Iterator[tuple[list[Reading], list[Reading]]]:
        """Every worker's file, this one's first; and those of the living."""
        self.tick()
        second = int(self._clock())
        with others(self.path) as siblings:
            readings = [self._file, *siblings]
            yield (
                readings,
                [one for one in readings if abs(second - one.second(self._boot)) <= SILENT_SECONDS],
            )

    def _pages(self) -> list[Page]:
        pages = []
        with self._look() as (readings, _):
            for reading in readings:
                page = reading.page() or Page()
                if reading.second(self._boot) < 0:
                    page = page._replace(last=[(0.0, ms) for _, ms in page.last])
                pages.append(page)
        return pages


def _summaries(places: Sequence[tuple[Reading, int]]) -> dict[int, Summary]:
    """Minutes → the window that rows of several workers come to."""
    result = {}
    for window, minutes in enumerate(MINUTES):
        counts = merged(reading.sums(window, row) for reading, row in places)
        requests, found = quantiles(counts, (0.5, 0.95, 0.99))
        errors = counts[ERROR_COLUMN]
        result[minutes] = Summary(requests, errors, percent(errors, requests), *found)
    return result


def _added(pages: Iterable[Page]) -> dict[str, list[float]]:
    """Route → its totals in all pages together."""
    result: dict[str, list[float]] = {}
    for page in pages:
        for name, totals in page.totals.items():
            result[name] = list(map(add, result.get(name, [0.0] * WIDTH), totals))
    return result


def _boot_of_machine() -> str:
    """What tells one start of the machine from the next; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in percent with two decimals; 0.0 of nothing."""
    return round(100 * part / whole, 2) if whole else 0.0
