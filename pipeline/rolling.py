"""Rolling windows: what the last 1, 5 and 15 minutes were like, as counts in buckets.

Durations are counted in logarithmic buckets whose bounds grow by 2 %, so a quantile is within 1 % of the truth (the scheme of
DDSketch, Masson, Rim and Lee, VLDB 2019). Each second is a slice with its own counts; a window is a running sum to which a
slice is added and from which it is taken when it leaves.

There is room for so many cells in 15 minutes and no more. A slice that holds more than its second's share stays open until
it has earned them, so under the heaviest load a window may hold a few seconds too many, and its quantiles stay as good.
"""

import math
from array import array
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable
from itertools import accumulate

from .figures import CELLS, COLUMNS, EVERYTHING, ROUTES, ROW_BITS, FiguresFile, Slice

MINUTES = (1, 5, 15)
GROWTH = 1.02
SMALLEST_MS = 0.01
SCALE = 1 / math.log(GROWTH)
OFFSET = 1 - math.log(SMALLEST_MS) * SCALE
BUCKETS = 1_056
ERROR_COLUMN = BUCKETS
LARGEST_MS = SMALLEST_MS * GROWTH ** (BUCKETS - 2)
"""Three hours. What takes longer is counted as that."""

_HORIZON = max(MINUTES) * 60
_LONGEST_SLICE = 15
_MASK = (1 << ROW_BITS) - 1
_MOST = (1 << 32 - ROW_BITS) - 1


def bucket(duration_ms: float) -> int:
    """The number of the bucket that counts `duration_ms`; one that is no number counts as nothing."""
    if SMALLEST_MS < duration_ms < LARGEST_MS:
        return int(math.log(duration_ms) * SCALE + OFFSET)
    return BUCKETS - 1 if duration_ms >= LARGEST_MS else 0


def sane(duration_ms: float) -> float:
    """`duration_ms` as it is added up: never negative, never no number, at most three hours."""
    return duration_ms if 0 <= duration_ms < LARGEST_MS else LARGEST_MS if duration_ms >= LARGEST_MS else 0.0


def middle(number: int) -> float:
    """The duration in milliseconds by which a bucket is known: at most 1 % from any in it."""
    return 0.0 if number == 0 else SMALLEST_MS * GROWTH ** (number - 1) * 2 * GROWTH / (1 + GROWTH)


def merged(vectors: Iterable[bytes]) -> "memoryview[int]":
    """The sums of several workers, added column by column, as u32.

    A vector of counts is one large integer here: adding those adds all columns at once, as long as none overflows.
    """
    total = sum(int.from_bytes(vector, "little") for vector in vectors)
    return memoryview(total.to_bytes(COLUMNS * 4 + 8, "little"))[: COLUMNS * 4].cast("I")


def quantiles(counts: "memoryview[int]", wanted: Iterable[float]) -> tuple[int, list[float]]:
    """How many responses `counts` are, and the durations (ms) at the `wanted` ranks (0 to 1), by the nearest rank.

    Zeros when nothing was counted.
    """
    raw = bytes(counts[:BUCKETS])
    first, end = (len(raw) - len(raw.lstrip(b"\0"))) // 4, -(-len(raw.rstrip(b"\0")) // 4)
    seen = list(
        accumulate(counts[first:end])
    )  # Most buckets are empty: only the stretch that is not is worth a look.
    if not seen:
        return 0, [0.0 for _ in wanted]
    ranks = (max(1, math.ceil(quantile * seen[-1])) for quantile in wanted)
    return seen[-1], [middle(first + bisect_left(seen, rank)) for rank in ranks]


class Rolling:
    """The windows of one worker, in its figures file.

    `counts` is open for whoever counts: `counts[row * COLUMNS + column] += 1`, for the second that `advance` gave last.
    """

    def __init__(self, file: FiguresFile, second: int) -> None:
        self.counts: defaultdict[int, int] = defaultdict(int)
        self._file = file
        self._second = self._opened = second
        self._open: defaultdict[int, int] = defaultdict(int)
        self._within: list[deque[Slice]] = [deque() for _ in MINUTES]
        self._end = 0
        self._resume()

    def advance(self, second: int) -> int:
        """Go on to `second`, unless it is past, and show in the sums what was counted. Returns the second after."""
        self.apply()
        if second > self._second:
            age = second - self._opened
            if self._open and (age * CELLS >= len(self._open) * _HORIZON or age >= _LONGEST_SLICE):
                self.close_slice()
            if not self._open:
                self._opened = second
            self._second = second
            self._leave(self._end)
        return self._second + 1

    def apply(self) -> None:
        """Show in the sums what was counted."""
        if self.counts:
            for window in range(len(MINUTES)):
                self._add(window, self.counts.items(), 1)
            for index, count in self.counts.items():
                self._open[index] += count
            self.counts.clear()

    def close_slice(self) -> None:
        """Write the open slice down, so that it can be taken out again, and outlives the process."""
        if not self._open:
            return
        cells = array("I")
        for index, count in self._open.items():
            full, rest = divmod(count, _MOST)
            cells.extend([_MOST << ROW_BITS | index] * full + [rest << ROW_BITS | index])
        self._open.clear()
        self._leave(self._end + len(cells))
        slice_ = self._file.append(self._second, self._end, cells)
        self._end = slice_.end
        for within in self._within:
            within.append(slice_)

    def _leave(self, end: int) -> None:
        """Take out of each window the slices that have left it, and those whose cells are needed up to `end`."""
        for window, minutes in enumerate(MINUTES):
            oldest, within = self._second - minutes * 60 + 1, self._within[window]
            while within and (within[0].second < oldest or within[0].first < end - CELLS):
                self._add(window, _counted(self._file.cells(within.popleft())), -1)

    def _add(self, window: int, counts: Iterable[tuple[int, int]], sign: int) -> None:
        sums = self._file.window_sums
        start = window * (ROUTES + 1) * COLUMNS
        everything = start + EVERYTHING * COLUMNS
        for index, count in counts:
            sums[start + index] += sign * count
            sums[everything + index % COLUMNS] += sign * count

    def _resume(self) -> None:
        """Make the sums from the slices that a predecessor left, if they are of this clock."""
        self._file.empty_sums()
        slices = self._file.slices() if self._file.same_boot else []
        try:
            for window, minutes in enumerate(MINUTES):
                since = self._second - minutes * 60
                self._within[window].extend(
                    slice_ for slice_ in slices if since < slice_.second <= self._second
                )
                for slice_ in self._within[window]:
                    self._add(window, _counted(self._file.cells(slice_)), 1)
            self._end = slices[-1].end
        except (
            ValueError,
            IndexError,
        ):  # There are none, or their cells are damaged: the windows begin empty.
            self._file.forget_slices()
            self._within = [deque() for _ in MINUTES]


def _counted(cells: Iterable[int]) -> Iterable[tuple[int, int]]:
    return ((cell & _MASK, cell >> ROW_BITS) for cell in cells)
