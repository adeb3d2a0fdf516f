"""Reading the log, also when the server is dead: every line of every segment, live or archived, torn and damaged ones included.

A reader never guesses. What is wrong is told of, with its place, and passed over:

    torn         the last line of a segment has no end, because a process can die in the middle of a write
    damaged      a line that is not a JSON object
    changed      a block whose checksum is another than when the segment was closed; its lines follow, and may lie
    unreadable   bytes that cannot be had: an archive's block is broken, or the disk does not give them

An event that was written twice, because its first flush failed or a start was killed while it recovered events, is told once.
"""

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipeline import index
from pipeline.blocks import BLOCK, Blocks
from pipeline.checksum import crc32
from pipeline.segments import ARCHIVED, all_segments, archive_of, is_open, live_segments

from .runs import Seen

Event = dict[str, Any]
Fault = Literal["torn", "damaged", "changed", "unreadable"]

_LONGEST = 1 << 20  # what has no newline for so long is no line
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"  # stands in a line as it is
_ENDS = {"server_stopped", "start_failed"}


class Line(NamedTuple):
    """One line: where it stands (`offset` in bytes before compression), its bytes without the newline, and what is wrong with it."""

    segment: Path
    offset: int
    raw: bytes
    fault: Fault | None = None
    event: Event | None = None


class Start(NamedTuple):
    """A process start as its last segment shows it: whether it said how it ended, and its settings' hash."""

    boot: str
    config: str
    stopped: bool


def lines(folder: Path, holding: bytes = b"") -> Iterator[Line]:
    """Every line of the log in `folder` that has the bytes `holding` in it, parsed, oldest segment first; and every fault.

    Only those are parsed, which is what makes it quick to look for few among millions.
    """
    return once(line for segment in all_segments(folder) for line in segment_lines(segment, holding))


def request_lines(folder: Path, request_id: str) -> Iterator[Line]:
    """The lines of one request, and every fault where they were looked for: of a closed segment only where its index says."""
    wanted = request_id.encode("utf-8", "surrogateescape")
    for segment in all_segments(folder):
        for line in segment_lines(segment, wanted, of_request=True):
            if line.event is None or line.event.get("request_id") == request_id:
                yield line


def once(found: Iterable[Line]) -> Iterator[Line]:
    """Those of the lines whose event was not told before, by (`boot`, `seq`)."""
    seen: dict[str, Seen] = {}
    for line in found:
        if (place := place_of(line)) is not None:
            boot, seq = place
            if not seen.setdefault(boot, Seen()).add(seq):
                continue
        yield line


def place_of(line: Line) -> tuple[str, int] | None:
    """`boot` and `seq` of the line's event, if it has them."""
    if line.event is None:
        return None
    boot, seq = line.event.get("boot"), line.event.get("seq")
    return (boot, seq) if type(boot) is str and type(seq) is int else None


def told(fault: Line) -> str:
    """What is wrong with a line or a block, for a person."""
    thing = "line" if fault.fault in {"torn", "damaged"} else "block"
    return f"{fault.fault} {thing} in {fault.segment.name} at byte {fault.offset}"


def segment_lines(segment: Path, holding: bytes = b"", *, of_request: bool = False) -> Iterator[Line]:
    """The lines of one segment that have `holding` in them, and its faults; `of_request` when that is a request's whole ID.

    A segment that has gone has no lines; one that was archived meanwhile is read there.
    """
    try:
        opened = _open(segment)
    except OSError:
        yield Line(segment, 0, b"", "unreadable")
        return
    if opened is None:
        return
    with opened.blocks as blocks:
        known = opened.known
        if known is None and of_request:
            known = _indexed_now(opened.segment)
        parts = [(0, blocks.count)]
        intact = known is not None and blocks.sound and known.size == (blocks.size or known.size)
        if known is not None and intact and of_request and not holding.translate(None, _PLAIN):
            parts = [(number, number + 1) for number in known.blocks(holding)]
        for first, until in parts:
            yield from _lines(opened, holding, first, until)
        if known is not None and len(known.checksums) > blocks.count:
            yield Line(segment, blocks.count * BLOCK, b"", "changed")


class _Opened(NamedTuple):
    segment: Path
    blocks: Blocks
    known: index.Index | None

    def fault(self, number: int, block: bytes | None) -> Line | None:
        """What is wrong with that block as a whole."""
        if block is None:
            return Line(self.segment, number * BLOCK, b"", "unreadable")
        if self.known is None or self.known.checksums[number : number + 1].tolist() == [crc32(block)]:
            return None
        return Line(self.segment, number * BLOCK, b"", "changed")


def _open(segment: Path) -> _Opened | None:
    """The blocks of a segment, and its index; None when it has gone. Raises ``OSError`` when it cannot be opened."""
    try:
        return _Opened(segment, Blocks(segment), index.load(segment))
    except FileNotFoundError:
        archived = archive_of(segment)
        if segment.suffix == ARCHIVED or not archived.exists():
            return None
        return _Opened(archived, Blocks(archived), index.load(archived))


def _indexed_now(segment: Path) -> index.Index | None:
    """An index for a closed segment that has none, so that the next search is quick.

    Only made by whom the segment belongs to: what root would leave there, the server could not read.
    """
    try:
        if segment.stat().st_uid != os.geteuid() or (segment.suffix != ARCHIVED and is_open(segment)):
            return None
        return index.build(segment)
    except OSError:
        return None


def _lines(opened: _Opened, holding: bytes, first: int, until: int) -> Iterator[Line]:
    """The lines that begin in the blocks from `first` up to `until`, that one not included."""
    segment, blocks, _ = opened
    began, at = b"", first * BLOCK  # a line that goes on in the next block, and where it began
    skipping = first > 0 and (blocks.read(first - 1) or b"")[-1:] != b"\n"
    for number in range(first, blocks.count):
        if number >= until and not began:
            return
        block = blocks.read(number)
        if (fault := opened.fault(number, block)) is not None:
            yield fault
        if block is None or (skipping and b"\n" not in block):
            began, skipping = b"", True
            continue
        start = block.find(b"\n") + 1 if skipping else 0
        text = began + block[start:]
        at, skipping = at if began else number * BLOCK + start, False
        end = (text.find(b"\n") if number >= until else text.rfind(b"\n")) + 1
        if holding in text:
            yield from _parsed(segment, at, text[:end], holding)
        if number >= until and end:
            return
        began, at = text[end:], at + end
        if len(began) > _LONGEST:
            yield Line(segment, at, b"", "damaged")
            began, skipping = b"", True
    if began and holding in began:
        yield Line(segment, at, began, "torn")


def _parsed(segment: Path, offset: int, text: bytes, holding: bytes = b"") -> Iterator[Line]:
    for raw in _pieces(text):
        if holding in raw:
            yield parsed(segment, offset, raw)
        offset += len(raw)


def _pieces(text: bytes) -> list[bytes]:
    """The lines in `text` with their newlines; `splitlines` would take other ends too."""
    *whole, rest = text.split(b"\n")
    pieces = [raw + b"\n" for raw in whole]
    return [*pieces, rest] if rest else pieces


def parsed(segment: Path, offset: int, raw: bytes) -> Line:
    """A line as what it says, or as what is wrong with it."""
    if not raw.endswith(b"\n"):
        return Line(segment, offset, raw, "torn")
    try:
        event = json.loads(raw.decode())  # of bytes the module would guess an encoding
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        return Line(segment, offset, raw[:-1], "damaged")
    return Line(segment, offset, raw[:-1], None, event)


def backwards(segment: Path) -> Iterator[Line]:
    """The lines of one segment and its faults, the last one first; a few of them cost little, however long it is."""
    try:
        opened = _open(segment)
    except OSError:
        yield Line(segment, 0, b"", "unreadable")
        return
    if opened is None:
        return
    with opened.blocks as blocks:
        rest: list[bytes] = []  # of a line that began further in front, the last part first
        for number in reversed(range(blocks.count)):
            block = blocks.read(number)
            fault = opened.fault(number, block)
            if block is not None:
                start = block.find(b"\n") + 1 if number else 0
                if start or not number:
                    text = block[start:] + b"".join(reversed(rest))
                    yield from reversed(list(_parsed(opened.segment, number * BLOCK + start, text)))
                    rest = []
                rest.append(block[: start or None])
            else:
                rest = []
            if fault is not None:
                yield fault


def whole_bytes(segment: Path) -> int:
    """How far a segment holds whole lines: where one that is still being written begins."""
    for line in backwards(segment):
        return line.offset + (0 if line.fault == "torn" else len(line.raw) + 1)
    return 0


def last_start(folder: Path) -> Start | None:
    """The newest start that wrote to `folder`; None for a folder without a log."""
    segments = live_segments(folder)
    if not segments:
        return None
    last = [line.event for line in islice(backwards(segments[-1]), 10) if line.event is not None][:3]
    if not last:
        return None
    stopped = any(event.get("event") in _ENDS for event in last)
    return Start(str(last[0].get("boot", "")), str(last[0].get("config", "")), stopped)
