"""Which events of a process start are missing from the log, and which of them the log tells of.

`seq` counts 1, 2, 3… within each start, so a hole is a loss. Three kinds of hole are none: what `events_dropped` counts; what lies before
the first segment that is still kept of a start, or was told on standard error before the log was open; and, while a start still
runs, what waits to be written and was overtaken by the first lines of its newest segments.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .runs import Seen

Range = tuple[int, int]


class Gap(NamedTuple):
    """`events` are missing between `first` and `last`, both included."""

    first: int
    last: int
    events: int


class Start:
    """What was seen of one process start."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.opened = 0  # the first `seq` that the log can hold, if its first segment is still kept
        self.openings = set[int]()  # the first lines of segments
        self.in_turn = 0  # the `seq` behind which the next one stands in the file, if that is known
        self.running = False
        # The last `seq`, but for the first lines of segments, which are written before what waits.
        self.written = 0
        self.dropped: list[tuple[int, int, int]] = []  # as `events_dropped` tells: from, to, how many


def gaps(start: Start) -> tuple[list[Gap], int]:
    """What is missing and told of nowhere; and how many are missing and told of."""
    runs = start.seen.runs
    begin = start.opened or (runs[0][0] if runs else 0)
    ends = [begin - 1, *(last for _, last in runs)]
    holes = [
        (end + 1, first - 1)
        for end, (first, _) in zip(ends, runs, strict=False)
        if end + 1 < first and not (start.running and end >= start.written)
    ]
    ranges = [(first, last) for first, last, _ in start.dropped]
    lost = [Gap(first, last, last - first + 1) for first, last in _outside(holes, ranges)]
    missing = sum(last - first + 1 for first, last in holes)
    explained = missing - sum(gap.events for gap in lost)
    told_of = sum(events for _, _, events in start.dropped)
    if explained > told_of:  # More is missing where something was dropped than was dropped.
        lost.append(Gap(min(ranges)[0], max(last for _, last in ranges), explained - told_of))
    return lost, min(explained, told_of)


def _outside(holes: Iterable[Range], ranges: Iterable[Range]) -> Iterator[Range]:
    """The parts of `holes` that lie in none of `ranges`."""
    known = sorted(ranges)
    at = 0
    for first, last in holes:
        while at < len(known) and known[at][1] < first:
            at += 1
        for lower, upper in known[at:]:
            if lower > last:
                break
            if lower > first:
                yield first, lower - 1
            first = max(first, upper + 1)  # noqa: PLW2901 - what is left of the hole
        if first <= last:
            yield first, last
