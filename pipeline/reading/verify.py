"""Is the log whole? Every byte is read, every event counted, and what is not as it should be is told with its place.

torn, damaged, changed, unreadable     as in `reader`; a torn line whose event was recovered is no fault
index                                  the index of a segment is damaged: its checksums cannot be used
gap                                    events are missing, and nothing tells of them: see `gaps`
"""

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline import index
from pipeline.segments import ARCHIVED, all_segments, boot_of, index_of, is_open, live_segments, number_of

from .gaps import Start, gaps
from .reader import Event, Line, place_of, segment_lines, told

_PROGRESS_SECONDS = 0.2
_SHOWN = 20
_TORN_PLACE = re.compile(rb'"boot": ?"([^"]*)", ?"seq": ?([0-9]{1,15})[,}]')
Progress = Callable[[int], None]


class Problem(NamedTuple):
    """Something that is not as it should be, and where: in a file, or, when events are missing, in a start."""

    kind: str
    text: str
    segment: str | None = None
    offset: int | None = None
    boot: str | None = None
    from_seq: int | None = None
    to_seq: int | None = None
    events: int | None = None


class Report(NamedTuple):
    """What was read, in figures, and the problems."""

    segments: int
    bytes: int
    events: int
    recovered: int
    twice: int
    dropped: int
    unindexed: int
    problems: list[Problem]


class _Count:
    """Reads segments and keeps count."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._shown = time.monotonic()
        self.starts: dict[str, Start] = {}
        self.torn: list[tuple[Start, int, Line]] = []  # with their `seq`
        self.short: list[tuple[Start, int, Line]] = []  # torn before it, with that of the line before
        self.events = self.recovered = self.twice = self.unindexed = self.segments = self.bytes = 0
        self.problems: list[Problem] = []

    def read(self, segment: Path) -> None:
        """Count one segment."""
        writing = False
        with contextlib.suppress(
            OSError
        ):  # It has gone meanwhile, or cannot be opened, which its lines will tell.
            writing = segment.suffix != ARCHIVED and is_open(segment)
        self.segments += 1
        if not writing and index.load(segment) is None:
            self.unindexed += 1
            if index_of(segment).exists():
                self.problems.append(
                    Problem("index", f"the index of {segment.name} is damaged", segment.name)
                )
        end, before = 0, 0
        for line in segment_lines(segment):
            end = line.offset + len(line.raw) + 1
            if line.fault == "torn":
                if not writing:
                    self._torn(line, before)
            elif (place := place_of(line)) is None or line.event is None:
                kind = line.fault or "damaged"
                self.problems.append(
                    Problem(kind, told(line._replace(fault=kind)), segment.name, line.offset)
                )
            else:
                self._event(place, line.event, segment)
                before = self._in_turn(place, line.event, segment)
            if self.events & 1023 == 0 and time.monotonic() - self._shown > _PROGRESS_SECONDS:
                self._shown = time.monotonic()
                self._progress(self.bytes + end)
        self.bytes += end

    def start(self, boot: str) -> Start:
        """What was seen of that start."""
        if (start := self.starts.get(boot)) is None:
            start = self.starts[boot] = Start()
        return start

    def _event(self, place: tuple[str, int], event: Event, segment: Path) -> None:
        start = self.start(place[0])
        self.events += 1
        self.recovered += event.get("recovered") is True
        if not start.seen.add(place[1]):
            self.twice += 1
        name = event.get("event")
        if name == "events_dropped":
            told_of = event.get("of_boot") or place[0]
            numbers = (event.get("from_seq"), event.get("to_seq"), event.get("count"))
            if isinstance(told_of, str) and all(type(number) is int for number in numbers):
                self.start(told_of).dropped.append(numbers)  # type: ignore[arg-type]
        elif name == "segment_opened" and place[0] == boot_of(segment) and number_of(segment) == 1:
            start.opened = place[1]
        if name == "segment_opened":
            start.openings.add(place[1])
        else:
            start.written = max(start.written, place[1])

    def _in_turn(self, place: tuple[str, int], event: Event, segment: Path) -> int:
        """The `seq` behind which the next one stands in `segment`, or 0: what was recovered is not in turn, and what opens one is before it."""
        if place[0] != boot_of(segment) or event.get("recovered") is True:
            return 0
        start = self.start(place[0])
        if event.get("event") != "segment_opened" or number_of(segment) == 1:
            start.in_turn = place[1]
        return start.in_turn

    def _torn(self, line: Line, before: int) -> None:
        """A torn line is no fault when its event was recovered, which only the end of the log tells.

        One that is too short to say which event it is was the next after `before`.
        """
        if (found := _TORN_PLACE.search(line.raw)) is not None:
            self.torn.append((self.start(found[1].decode(errors="replace")), int(found[2]), line))
        elif before:
            self.short.append((self.start(boot_of(line.segment)), before, line))
        else:
            self.problems.append(Problem("torn", told(line), line.segment.name, line.offset))


def _next(start: Start, seq: int) -> int:
    """The `seq` that is written behind that one: not the first line of a segment, which is written before its turn, nor what was dropped."""
    dropped = [(first, last) for first, last, _ in start.dropped]
    seq += 1
    while seq in start.openings or (
        any(first <= seq <= last for first, last in dropped) and not start.seen.holds(seq)
    ):
        seq += 1
    return seq


def verify(folder: Path, progress: Progress = lambda _: None) -> Report:
    """Read the whole log in `folder`. `progress` is told now and then how many bytes were read."""
    count = _Count(progress)
    running = _running(folder)
    for segment in all_segments(folder):
        count.read(segment)
    for boot in running | _running(
        folder
    ):  # Between the two it may have gone on to a segment that was not there to be read.
        count.start(boot).running = True
    short = [(start, _next(start, before), line) for start, before, line in count.short]
    for start, seq, line in count.torn + short:
        if start.seen.add(seq):
            count.problems.append(Problem("torn", told(line), line.segment.name, line.offset))
    dropped = 0
    for boot, start in count.starts.items():
        missing, explained = gaps(start)
        dropped += explained
        for first, last, events in missing:
            text = f"gap: {events} events of start {boot} are missing, seq {first} to {last}"
            if first == last:
                text = f"gap: 1 event of start {boot} is missing, seq {first}"
            if first > start.written:
                text += "; perhaps they lie in its ring: the next start of the server recovers them"
            count.problems.append(Problem("gap", text, None, None, boot, first, last, events))
    return Report(
        count.segments,
        count.bytes,
        count.events,
        count.recovered,
        count.twice,
        dropped,
        count.unindexed,
        count.problems,
    )


def _running(folder: Path) -> set[str]:
    """The starts that write just now."""
    found = set()
    for segment in live_segments(folder):
        with contextlib.suppress(OSError):
            if is_open(segment):
                found.add(boot_of(segment))
    return found


def run(folder: Path, *, as_json: bool) -> int:
    """The `verify` command: 0 when the log is whole, 1 when it is not or there is none."""
    if not all_segments(folder):
        sys.stderr.write(f"There is no log in {folder}.\n")
        return 1
    report = verify(folder, _show_progress if sys.stderr.isatty() else lambda _: None)
    figures = report._asdict() | {"problems": [problem._asdict() for problem in report.problems]}
    text = json.dumps({"whole": not report.problems} | figures) if as_json else "\n".join(_sentences(report))
    sys.stdout.write(f"{text}\n")
    return 1 if report.problems else 0


def _show_progress(done: int) -> None:
    sys.stderr.write(f"{done / 1e6:,.0f} MB read\r")  # what comes next is longer, and is written over it
    sys.stderr.flush()


def _sentences(report: Report) -> Iterator[str]:
    segments = "1 segment" if report.segments == 1 else f"{report.segments} segments"
    yield f"{segments}, {report.bytes / 1e6:,.1f} MB, {report.events:,} events"
    for count, text in (
        (report.recovered, "events recovered after a kill"),
        (report.dropped, "events dropped for want of room, as the log itself tells"),
        (report.twice, "events that stand there twice; readers tell them once"),
        (report.unindexed, "closed segments without an index, so without checksums"),
    ):
        if count:
            yield f"{text}: {count:,}"
    for problem in report.problems[:_SHOWN]:
        yield problem.text
    if len(report.problems) > _SHOWN:
        yield f"… and {len(report.problems) - _SHOWN:,} more; --json tells all"
    yield "The log is NOT whole." if report.problems else "The log is whole."
