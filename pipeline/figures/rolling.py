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
from collections import Counter, deque
from collections.abc import Iterable
from itertools import accumulate

from .file import CELLS, COLUMNS, EVERYTHING, ROUTES, ROW_BITS, Slice
from .own_file import FiguresFile

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
_ZEROS = [0] * COLUMNS
_MOST = (1 << 32 - ROW_BITS) - 1


def bucket(duration_ms: float) -> int:
    """The number of the bucket that counts `duration_ms`; one that is no number counts as nothing."""
    if SMALLEST_MS < duration_ms < LARGEST_MS:
        return math.floor(math.log(duration_ms) * SCALE + OFFSET)
    return BUCKETS - 1 if duration_ms >= LARGEST_MS else 0


def sane(duration_ms: float) -> float:
    """`duration_ms` as it is added up: never negative, never no number, at most three hours."""
    return duration_ms if 0 <= duration_ms < LARGEST_MS else LARGEST_MS if duration_ms >= LARGEST_MS else 0.0


def middle(number: int) -> float:
    """The duration in milliseconds by which a bucket is known: at most 1 % from any in it."""
    return 0.0 if number == 0 else SMALLEST_MS * GROWTH ** (number - 1) * 2 * GROWTH / (1 + GROWTH)


def merged(vectors: Iterable[bytes], more: int = 0) -> "memoryview[int]":
    """Several sums (and `more`, a vector) added column by column, as u32."""
    total = sum(map(vector, vectors), more)
    return memoryview(total.to_bytes(COLUMNS * 4 + 8, "little"))[: COLUMNS * 4].cast("I")


def vector(counts: bytes) -> int:
    """Counts, as u32, in one large integer: adding two of them adds all columns at once, as long as none overflows."""
    return int.from_bytes(counts, "little")


def quantiles(counts: "memoryview[int]", wanted: Iterable[float]) -> tuple[int, list[float]]:
    """How many responses `counts` are, and the durations (ms) at the `wanted` ranks (0 to 1), by the nearest rank.

    Zeros when nothing was counted.
    """
    raw = bytes(counts[:BUCKETS])
    first, end = (len(raw) - len(raw.lstrip(b"\0"))) // 4, -(-len(raw.rstrip(b"\0")) // 4)
    seen = list(accumulate(counts[first:end]))  # Most buckets are empty, at both ends.
    if not seen:
        return 0, [0.0 for _ in wanted]
    ranks = (max(1, math.ceil(quantile * seen[-1])) for quantile in wanted)
    return seen[-1], [middle(first + bisect_left(seen, rank)) for rank in ranks]


class Rolling:
    """The windows of one worker, in its figures file.

    `counts` has a list of `COLUMNS` for each row, for whoever counts to add to, and then to set `counted`; what is added ended
    in the second that `advance` gave last.
    """

    def __init__(self, file: FiguresFile, second: int) -> None:
        self.counts: list[list[int]] = []
        self.counted = False
        self._file = file
        self._second = self._opened = second
        self._open: dict[int, int] = {}
        self._within: list[deque[Slice]] = [deque() for _ in MINUTES]
        self._end = 0
        self._resume()

    def add_row(self) -> list[int]:
        """Counts for one more route."""
        self.counts.append([0] * COLUMNS)
        return self.counts[-1]

    def advance(self, second: int) -> int:
        """Show in the sums what was counted, and go on to `second`, unless it is past. Returns the second after."""
        if self.counted:
            self._show()
            self.counted = False
        if second > self._second:
            cells, age = self._cells(), second - self._opened
            if age * CELLS >= len(cells) * _HORIZON or age >= _LONGEST_SLICE:
                self._close(cells)
                self._opened = second
            self._second = second
            self._leave(self._end)
        return self._second + 1

    def close(self) -> None:
        """Write down what has not yet been, for who comes after."""
        self._close(self._cells())

    def _show(self) -> None:
        """Add to the sums what was counted."""
        added: dict[int, int] = {}
        for row, counts in enumerate(self.counts):
            if any(counts):
                added[row] = vector(array("I", counts).tobytes())
                counts[:] = _ZEROS
                self._open[row] = self._open.get(row, 0) + added[row]
        added[EVERYTHING] = sum(added.values())
        for window in range(len(MINUTES)):
            for row, more in added.items():
                self._file.set_sums(window, row, merged([self._file.sums(window, row)], more))

    def _cells(self) -> list[int]:
        """What the open slice holds, as cells."""
        cells: list[int] = []
        for row, held in self._open.items():
            for column, count in enumerate(array("I", held.to_bytes(COLUMNS * 4, "little"))):
                if count:
                    full, rest = divmod(count, _MOST)
                    index = row * COLUMNS + column
                    cells.extend([_MOST << ROW_BITS | index] * full + [rest << ROW_BITS | index])
        return cells

    def _close(self, cells: list[int]) -> None:
        """End the open slice: from here on it can be taken out of the windows, and it outlives the process."""
        if cells:
            self._open.clear()
            self._leave(self._end + len(cells))
            slice_ = self._file.append(self._second, self._end, cells)
            self._end = slice_.end
            for within in self._within:
                within.append(slice_)

    def _leave(self, end: int) -> None:
        """Take out of each window the slices that have left it, and those whose cells are needed up to `end`."""
        for window, minutes in enumerate(MINUTES):
            oldest, within, left = self._second - minutes * 60 + 1, self._within[window], []
            while within and (within[0].second < oldest or within[0].first < end - CELLS):
                left.append(within.popleft())
            self._add(window, left, -1)

    def _add(self, window: int, slices: Iterable[Slice], sign: int) -> None:
        sums = self._file.window_sums
        start = window * (ROUTES + 1) * COLUMNS
        everything = start + EVERYTHING * COLUMNS
        cells: Counter[int] = Counter()  # Of many slices, many cells are the same.
        for slice_ in slices:
            cells.update(self._file.cells(slice_))
        for cell, times in cells.items():
            index, count = cell & _MASK, (cell >> ROW_BITS) * times * sign
            sums[start + index] += count
            sums[everything + index % COLUMNS] += count

    def _resume(self) -> None:
        """Make the sums from the slices that a predecessor left, if they are of this clock."""
        self._file.empty_sums()
        slices = self._file.slices() if self._file.same_boot else []
        try:
            for window, within in enumerate(self._within):
                since = self._second - MINUTES[window] * 60
                within.extend(one for one in slices if since < one.second <= self._second)
                self._add(window, within, 1)
            self._end = slices[-1].end
        except (ValueError, IndexError):  # There are none, or damaged ones: the windows begin empty.
            self._file.forget_slices()
            self._within = [deque() for _ in MINUTES]
