"""Reading the log, also when the server is dead: every line of every segment, torn and damaged ones included.

A reader never guesses. The last line of a segment may be torn, because a process can die in the middle of a write; any other that is
not a JSON object is damage. Both are told of and passed over.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .segments import live_segments

Event = dict[str, Any]

_TAIL_BYTES = 64 << 10
_ENDS = {"server_stopped", "start_failed"}


class Line(NamedTuple):
    """One line: where it stands (`offset` in bytes), its bytes without the newline, and what is wrong with it."""

    segment: Path
    offset: int
    raw: bytes
    fault: Literal["torn", "damaged"] | None = None
    event: Event | None = None


class Start(NamedTuple):
    """A process start as its last segment shows it: whether it said how it ended, and its settings' hash."""

    boot: str
    config: str
    stopped: bool


def lines(folder: Path, holding: bytes = b"") -> Iterator[Line]:
    """Every line of the log in `folder` that has the bytes `holding` in it, parsed, oldest segment first.

    Only those are parsed, which is what makes it quick to look for one request among millions.
    """
    for segment in live_segments(folder):
        yield from segment_lines(segment, holding)


def segment_lines(segment: Path, holding: bytes = b"", start: int = 0) -> Iterator[Line]:
    """The lines of one segment from the byte `start` on; a segment that has gone has none."""
    offset = start
    try:
        file = open(segment, "rb")  # noqa: SIM115 - the `with` below closes it
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        for raw in file:
            if holding in raw:
                yield parsed(segment, offset, raw)
            offset += len(raw)


def parsed(segment: Path, offset: int, raw: bytes) -> Line:
    """A line as what it says, or as what is wrong with it."""
    if not raw.endswith(b"\n"):
        return Line(segment, offset, raw, "torn")
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        return Line(segment, offset, raw[:-1], "damaged")
    return Line(segment, offset, raw[:-1], None, event)


def last_start(folder: Path) -> Start | None:
    """The newest start that wrote to `folder`; None for a folder without a log."""
    segments = live_segments(folder)
    if not segments:
        return None
    newest = segments[-1]
    with open(newest, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        at = max(0, size - _TAIL_BYTES)
        file.seek(at)
        tail = file.read().splitlines(keepends=True)[1 if at else 0 :]
    events = [line.event for line in (parsed(newest, 0, raw) for raw in tail) if line.event is not None]
    if not events:
        return None
    last = events[-1]
    stopped = any(event.get("event") in _ENDS for event in events[-3:])
    return Start(str(last.get("boot", "")), str(last.get("config", "")), stopped)
