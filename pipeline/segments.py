"""Segments: the files of the log, named so that a shipper never reads one twice or misses one.

    events-20260101T123456789Z-k3f9a1-1.jsonl      events-<UTC start>-<boot>-<n>.jsonl

Every segment and every start has a new name; none is renamed, truncated or reused. The first write is a whole
`segment_opened` line of at least 1,024 bytes, and `boot` and `seq` make its first 200 unlike any other's, because shippers
tell files apart by their beginning (Filebeat by 1,024 bytes, the OpenTelemetry Collector by 1,000, rsyslog by 512).

One server writes a folder at a time: it holds an exclusive lock on `.lock` in it for as long as it lives.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PREFIX = "events-"
SUFFIX = ".jsonl"
FIRST_LINE_BYTES = 1_024
FILE_MODE = 0o640
FOLDER_MODE = 0o750


class FolderInUse(Exception):
    """Another server writes this folder."""


def segment_name(opened: float, boot: str, number: int) -> str:
    """The name of the `number`-th segment (from 1) of the process start `boot`, opened at `opened` (Unix seconds).

    To the millisecond, so that names sort as the segments were written though a server starts twice in a second.
    """
    second, milliseconds = divmod(int(opened * 1000), 1000)
    return f"{PREFIX}{time.strftime('%Y%m%dT%H%M%S', time.gmtime(second))}{milliseconds:03d}Z-{boot}-{number}{SUFFIX}"


def live_segments(folder: Path) -> list[Path]:
    """The segments in `folder`, oldest first."""

    def order(path: Path) -> tuple[str, str, int]:
        start, boot, number = path.name.removesuffix(SUFFIX).removeprefix(PREFIX).rsplit("-", 2)
        return start, boot, int(number)

    return sorted(_well_named(folder), key=order)


def _well_named(folder: Path) -> Iterator[Path]:
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        parts = path.name.removesuffix(SUFFIX).removeprefix(PREFIX).rsplit("-", 2)
        if len(parts) == 3 and parts[2].isdecimal():
            yield path


def lock_folder(folder: Path) -> IO[bytes]:
    """Make `folder` and take it for this process until the returned file is closed.

    Raises ``FolderInUse`` when another server has it, ``OSError`` when it cannot be made or written.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    held = open(folder / ".lock", "ab")  # noqa: SIM115 - held for the life of the process
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise FolderInUse(f"another server writes its log to {folder}") from None
    return held


def create(name: str, flags: int) -> int:
    """An `opener` for `open(name, "xb")`: appends, and only the log's group may read."""
    return os.open(name, flags | os.O_APPEND, FILE_MODE)
