"""Segments: the files of the log, named so that a shipper never reads one twice or misses one.

    events-20260101T123456789Z-k3f9a1-1.jsonl      events-<UTC start>-<boot>-<n>.jsonl

Every segment and every start has a new name; none is renamed, truncated or reused. The first write is a whole
`segment_opened` line of at least 1,024 bytes, and `boot` and `seq` make its first 200 unlike any other's, because shippers
tell files apart by their beginning (Filebeat by 1,024 bytes, the OpenTelemetry Collector by 1,000, rsyslog by 512).

What is closed gets an index, in `index/`, and after a while is moved to `archive/`, compressed under the same name with `.gz` behind
it. Neither folder is in the shippers' glob. Whoever writes a segment holds an exclusive lock on it, so that anybody can tell
one in use from one that a dead process left behind.

One server writes a folder at a time: it holds an exclusive lock on `.lock` in it for as long as it lives.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import IO

PREFIX = "events-"
SUFFIX = ".jsonl"
ARCHIVED = ".gz"
ARCHIVE_FOLDER = "archive"
INDEX_FOLDER = "index"
FIRST_LINE_BYTES = 1_024
MAX_LIVE = 50
"""So many segments may lie in the folder at most: shippers watch each of them."""
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
    return _named(folder, SUFFIX)


def archived_segments(folder: Path) -> list[Path]:
    """The segments in the archive of the log in `folder`, oldest first."""
    return _named(folder / ARCHIVE_FOLDER, SUFFIX + ARCHIVED)


def all_segments(folder: Path) -> list[Path]:
    """Every segment of the log in `folder`, oldest first; of one that is both live and archived, the live one."""
    # Asked in this order, one that is archived in between is seen twice rather than not at all.
    live = {path.name: path for path in live_segments(folder)}
    archived = {path.name.removesuffix(ARCHIVED): path for path in archived_segments(folder)}
    return sorted((archived | live).values(), key=_order)


def archive_of(segment: Path) -> Path:
    """Where that live segment goes when it is archived."""
    return segment.parent / ARCHIVE_FOLDER / (segment.name + ARCHIVED)


def index_of(segment: Path) -> Path:
    """Where the index of that segment is, be it live or archived."""
    folder = segment.parent.parent if segment.suffix == ARCHIVED else segment.parent
    return folder / INDEX_FOLDER / f"{segment.name.removesuffix(ARCHIVED)}.idx"


def boot_of(segment: Path) -> str:
    """The process start that wrote it."""
    return _order(segment)[1]


def number_of(segment: Path) -> int:
    """Its number within its start, from 1."""
    return _order(segment)[2]


def is_open(segment: Path) -> bool:
    """Whether somebody still writes that live segment; an empty one counts as written until it is ten minutes old.

    The writer takes its lock before it writes the first byte, so one with a byte in it and no lock is closed for good. Where it
    cannot be told, it is open. Raises ``OSError`` when it has gone.
    """
    with open(segment, "rb") as file:
        state = os.fstat(file.fileno())
        if state.st_size == 0 and time.time() - state.st_mtime < 600:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def has_room(folder: Path) -> bool:
    """Whether one more segment may be begun in `folder`; until then the one in use stays in use."""
    return len(live_segments(folder)) < MAX_LIVE


def _named(folder: Path, suffix: str) -> list[Path]:
    return sorted((path for path in folder.glob(f"{PREFIX}*{suffix}") if _order(path)[2] >= 0), key=_order)


def _order(path: Path) -> tuple[str, str, int]:
    """Start, boot and number in the name of a segment; the number is -1 when it is no such name."""
    parts = path.name.removesuffix(ARCHIVED).removesuffix(SUFFIX).removeprefix(PREFIX).rsplit("-", 2)
    if len(parts) != 3 or not parts[2].isdecimal():
        return "", "", -1
    return parts[0], parts[1], int(parts[2])


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
    """An `opener` for `open(name, "xb")`: appends, only the log's group may read, and locked for as long as it is open."""
    file = os.open(name, flags | os.O_APPEND, FILE_MODE)
    with contextlib.suppress(
        OSError
    ):  # A file system without locks: nothing of it is archived (see `is_open`).
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file
