"""What becomes of closed segments: each gets an index, later goes to the archive, and in the end is deleted.

`step` does the next bounded piece of work, one segment at most, and says what it did; None when there is nothing to do. It is made
for a thread of its own with nothing else to do, costs a start nothing, and never raises: what fails is told and tried again
later. One process at a time keeps a folder, whoever holds the lock on it.

No segment is archived or deleted while it is written, nor before shippers have had `archive_after_seconds` to read it to its end.
"""

import errno
import fcntl
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline import index
from pipeline.catalogue import Event, Field, declare
from pipeline.log import Log
from pipeline.segments import (
    ARCHIVE_FOLDER,
    ARCHIVED,
    INDEX_FOLDER,
    PREFIX,
    archived_segments,
    index_of,
    is_open,
    live_segments,
)

from . import retention
from .archive import archive

declare(
    [
        Event(
            "segment_archived",
            "INFO",
            "A closed segment was compressed and moved out of the shippers' sight.",
            {
                "segment": Field("its name"),
                "bytes": Field("its size"),
                "archived_bytes": Field("its size in the archive"),
            },
            always=True,
        ),
        Event(
            "segments_deleted",
            "INFO",
            "Old segments were deleted: they were over the age, or the log was over its disk budget.",
            {
                "reason": Field("`age` or `budget`"),
                "count": Field("how many"),
                "bytes": Field("what they took on the disk, with their indexes"),
                "first": Field("the oldest one's name"),
                "last": Field("the newest one's name"),
            },
            always=True,
        ),
        Event(
            "log_upkeep_failed",
            "WARNING",
            "A closed segment could not be indexed, archived or deleted. It stays as it is and is tried again later. Told once until it works.",
            {
                "step": Field("`look` (at the folder), `index`, `archive` or `delete`"),
                "segment": Field("the segment's name, or the folder's"),
                "errno": Field("the error's symbol, such as ENOSPC"),
                "message": Field("the error's text", free=True),
            },
            always=True,
        ),
    ]
)

_RETRY_SECONDS = 60.0
_AT_ONCE = 50  # so much is done before the folder, which may hold thousands of files, is looked at again
_UNFINISHED_SECONDS = 600.0  # an unfinished index this old is of a reader that died


class Indexed(NamedTuple):
    """A segment has its index."""

    segment: str


class Archived(NamedTuple):
    """A segment is in the archive."""

    segment: str
    bytes: int
    archived_bytes: int


class Deleted(NamedTuple):
    """Segments are gone."""

    reason: str
    segments: int
    bytes: int
    first: str
    last: str


class Failed(NamedTuple):
    """Something could not be done to a segment."""

    step: str
    segment: str
    errno: str
    message: str


Done = Indexed | Archived | Deleted | Failed


def tell(log: Log, done: Done) -> None:
    """Record what a step did."""
    match done:
        case Archived(segment, size, archived_size):
            log.info("segment_archived", segment=segment, bytes=size, archived_bytes=archived_size)
        case Deleted(reason, count, size, first, last):
            log.info("segments_deleted", reason=reason, count=count, bytes=size, first=first, last=last)
        case Failed(step, segment, symbol, message):
            log.warning("log_upkeep_failed", step=step, segment=segment, errno=symbol, message=message)
        case Indexed():
            return  # An index is a help to readers and no news.


class _Stopped(Exception):
    pass


_Work = tuple[str, Path, Callable[[], Done]]


class Keeper:
    """Keeps the closed segments of `folder`: live for `archive_after_seconds`, and in all within `limits`."""

    def __init__(
        self,
        folder: Path,
        *,
        archive_after_seconds: float,
        limits: retention.Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._archive_after = archive_after_seconds
        self._limits = limits
        self._clock = clock
        self._written: dict[str, float] = {}  # when each was last seen being written, by the monotonic clock
        self._resting: dict[str, float] = {}  # until when what failed is left alone
        self._told: set[tuple[str, str]] = set()
        self._left: Iterator[_Work] = iter(())  # of what was found when the folder was last looked at
        self._swept = False
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Leave off, also in the middle of a segment. From any thread; `step` does nothing from here on."""
        self._stopping.set()

    def step(self) -> Done | None:
        """Do the next piece of work. None when there is none just now, or another process keeps the folder."""
        try:
            held = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return None
        try:  # The folder itself is locked: a full disk, which we could make room on, has no place for a file.
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sweep()
            if (done := self._next()) is None:
                self._left = itertools.islice(self._work(), _AT_ONCE)
                done = self._next()
            return done
        except (BlockingIOError, _Stopped):  # It is another's to keep, or no longer ours.
            return None
        except Exception as error:  # Looking at the folder failed, whatever the reason.
            return self._failed("look", self._folder, error)
        finally:
            os.close(held)

    def _next(self) -> Done | None:
        for name, segment, act in self._left:
            self._go_on()
            if self._rests(segment):
                continue
            try:
                done = act()
            except _Stopped:
                raise
            except Exception as error:  # Whatever it is, it concerns one segment, and that is still there.
                if segment.exists():
                    return self._failed(name, segment, error)
                continue  # It is not: somebody else has done it.
            self._told = {told for told in self._told if told[0] != name}
            return done
        return None

    def _work(self) -> Iterator[_Work]:
        """What there is to do, what matters most first: room, then the index, then the archive."""
        closed = {}
        for segment in live_segments(self._folder):
            if (seconds := self._closed_seconds(segment)) is not None:
                closed[segment] = seconds
        due = [segment for segment, seconds in closed.items() if seconds >= self._archive_after]
        stuck = [segment for segment in due if self._rests(segment)]
        if (found := retention.doomed(self._folder, self._limits, self._clock(), due, stuck)) is not None:
            reason, segments = found
            # Named for the log: that one of them failed in another way is no reason to let it rest.
            yield "delete", self._folder, lambda: _delete(reason, segments)
        for segment in (*closed, *archived_segments(self._folder)):
            if not index_of(segment).exists():
                yield "index", segment, lambda segment=segment: _index(segment)  # type: ignore[misc]
        for segment in due:
            yield "archive", segment, lambda segment=segment: self._archive(segment)  # type: ignore[misc]

    def _closed_seconds(self, segment: Path) -> float | None:
        """For how long nobody has written that segment; None while somebody does, and when it has gone.

        By two clocks, and the shorter of both: when the wall clock jumps, shippers have read no faster.
        """
        now = time.monotonic()
        try:
            if is_open(segment):
                self._written[segment.name] = now
                return None
            by_wall = self._clock() - segment.stat().st_mtime
        except OSError:
            return None
        return min(by_wall, now - self._written.get(segment.name, -math.inf))

    def _archive(self, segment: Path) -> Done:
        sizes = archive(segment, self._go_on)
        self._written.pop(segment.name, None)
        return Archived(segment.name, sizes.live, sizes.archived)

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise _Stopped

    def _rests(self, path: Path) -> bool:
        return self._resting.get(path.name, 0.0) > time.monotonic()

    def _failed(self, step: str, segment: Path, error: Exception) -> Failed | None:
        self._resting[segment.name] = time.monotonic() + _RETRY_SECONDS
        number = error.errno if isinstance(error, OSError) else None
        symbol = errno.errorcode.get(number or 0, type(error).__name__)
        if (step, symbol) in self._told:
            return None
        self._told.add((step, symbol))
        return Failed(step, segment.name, symbol, str(error))

    def _sweep(self) -> None:
        """Once: what a keeper or a reader that was killed left unfinished."""
        if self._swept:
            return
        self._swept = True
        for folder, seconds in ((ARCHIVE_FOLDER, 0.0), (INDEX_FOLDER, _UNFINISHED_SECONDS)):
            for path in (self._folder / folder).glob(f".{PREFIX}*"):
                if self._clock() - retention.written(path) >= seconds:
                    path.unlink(missing_ok=True)


def _index(segment: Path) -> Done:
    index.build(segment)
    return Indexed(segment.name)


def _delete(reason: str, segments: list[Path]) -> Done:
    first, last = (path.name.removesuffix(ARCHIVED) for path in (segments[0], segments[-1]))
    return Deleted(reason, len(segments), retention.delete(segments), first, last)
