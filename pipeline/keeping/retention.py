"""Which old segments are deleted: those over the age, and as many of the oldest as bring the log into its disk budget."""

import contextlib
import math
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from pipeline.segments import ARCHIVED, archived_segments, index_of, live_segments

AT_ONCE = 100
"""So many segments are deleted in one go at most."""


class Limits(NamedTuple):
    """What the log may come to: `seconds` since a segment was last written, and `bytes` in all, live, archived and indexes."""

    seconds: float
    bytes: int


def doomed(
    folder: Path, limits: Limits, now: float, due: Collection[Path], stuck: Collection[Path]
) -> tuple[str, list[Path]] | None:
    """What is to be deleted from the log in `folder`, oldest first, and why: for its `age`, or for the `budget`.

    Of live segments only those that are `due` for the archive grow too old. For room one is deleted only when it is `stuck`, that
    is, when the archive, where it would shrink, does not take it.
    """
    sizes = {path: disk_bytes(path) for path in (*archived_segments(folder), *live_segments(folder))}
    expired = [
        path
        for path in sizes
        if (path.suffix == ARCHIVED or path in due) and now - written(path) > limits.seconds
    ]
    if expired:
        return "age", expired[:AT_ONCE]
    excess = sum(sizes.values()) - limits.bytes
    over: list[Path] = []
    for path, size in sizes.items():
        if excess <= 0 or len(over) == AT_ONCE:
            break
        if path.suffix == ARCHIVED or path in stuck:
            over.append(path)
            excess -= size
    return ("budget", over) if over else None


def delete(segments: list[Path]) -> int:
    """Delete them, and their indexes after them; the bytes that this set free. Raises ``OSError``."""
    freed = 0
    for segment in segments:
        freed += disk_bytes(segment)
        segment.unlink(missing_ok=True)
        index_of(segment).unlink(missing_ok=True)
    return freed


def written(path: Path) -> float:
    """When it was last written; when it has gone, later than anything."""
    try:
        return path.stat().st_mtime
    except OSError:
        return math.inf


def disk_bytes(segment: Path) -> int:
    """What a segment takes, its index included; 0 when it has gone."""
    total = 0
    for path in (segment, index_of(segment)):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total
