"""The writer task: from the queue to the disk and, with `after_batch`, to the windows.

Everything waiting is taken at once, written in one call and counted in one pass, so the cost of an event falls as the
load rises. Nothing here raises into a request.

The lines themselves lie in the ring; the queue only says that there are some and how urgent they are. A
place in the ring is released when the bytes before it are written, so a write that fails is simply tried again: from the
very byte at which it stopped when the file stays the same, from the beginning of the first unfinished line when it has to
be another.
"""

import asyncio
import errno
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import aiofiles
from aiofiles.threadpool.binary import AsyncFileIO

from .catalogue import LEVELS, Event, Field, declare
from .log import Log, standard_error
from .ring import Ring
from .segments import FIRST_LINE_BYTES, create, segment_name

declare(
    [
        Event(
            "segment_opened",
            "INFO",
            "The first line of every segment: which process start wrote it, and what came before.",
            {
                "segment": Field("the number of the segment within its start, from 1"),
                "previous": Field("the name of the segment before it in the same start, or null"),
                "pid": Field("the process"),
                "python": Field("the interpreter's version"),
                "format": Field("how to read what follows"),
                "padding": Field(
                    "spaces that bring the line to 1,024 bytes, by which shippers know the file"
                ),
            },
            always=True,
        ),
        Event(
            "log_write_failed",
            "ERROR",
            "The log cannot be written; events wait in memory. Told on standard error, once for each outage.",
            {
                "errno": Field("the error's symbol, such as ENOSPC"),
                "message": Field("the error's text", free=True),
                "waiting_bytes": Field("what waits"),
            },
        ),
        Event(
            "log_write_resumed",
            "WARNING",
            "The log can be written again.",
            {"seconds": Field("how long it could not be"), "errno": Field("the error that it began with")},
        ),
    ]
)

ERROR_LEVEL = LEVELS["ERROR"]
_RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


class Waiting(NamedTuple):
    """One event on the queue: where its bytes end in the ring, and its level."""

    place: int
    level: int


class Rotation(NamedTuple):
    """When a segment ends: at `max_bytes`, or when it is `max_seconds` old."""

    max_bytes: int
    max_seconds: float


class Writer:
    """Takes word of events from `queue` and their bytes from `ring`; appends to segments in `folder`."""

    def __init__(
        self,
        log: Log,
        folder: Path,
        ring: Ring,
        queue: "asyncio.Queue[Waiting | None]",
        *,
        rotation: Rotation,
        linger_seconds: float,
        about: Mapping[str, Any],
        after_batch: Callable[[], None],
    ) -> None:
        self._log = log
        self._folder = folder
        self._ring = ring
        self._queue = queue
        self._rotation = rotation
        self._linger = linger_seconds
        self._about = about
        self._after_batch = after_batch
        # One thread, and its own: a hung disk must not hold up whoever else uses the loop's executor.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log")
        self._file: AsyncFileIO | None = None
        self._number = 0
        self._name: str | None = None
        self._bytes = 0
        self._opened = 0.0
        self._place = 0  # how far the ring is written, perhaps into the middle of a line
        self._opening: bytes | None = None
        self.written = 0
        self.failing_since: float | None = None
        self.failure = ""

    async def open(self) -> None:
        """Open the first segment. Raises ``OSError`` when the folder does not take it."""
        await self._rotate()

    async def run(self) -> None:
        """Write until None comes through the queue."""
        stopping = False
        while not stopping:
            batch = [await self._queue.get()]
            first = batch[0]
            if self._linger and first is not None and first.level < ERROR_LEVEL:
                # Under load a short wait makes batches of hundreds instead of chasing the tail; an error need not wait.
                await asyncio.sleep(self._linger)
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._write(self._ring.head)
            stopping = None in batch
            self.written += len(batch) - stopping
            self._after_batch()

    async def finish(self) -> None:
        """Write what is left and close the segment."""
        await self._write(self._ring.head)
        await self._close_file()
        self._executor.shutdown(wait=False)

    async def _write(self, until: int) -> None:
        """Put the ring's bytes up to the place `until` into segments, however often it takes."""
        attempt = 0
        while self._ring.tail < until:
            try:
                if self._file is None or self._is_due():
                    await self._rotate()
                await self._append(until)
            except (
                Exception
            ) as error:  # Also what is no OSError: a thread that cannot start, a file closed under us.
                self._failed(error)
                await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
                if attempt % 2 == 0 and not is_full(error):
                    await self._abandon()
            else:
                self._ring.release(until)
        self._resumed()

    async def _append(self, until: int) -> None:
        assert self._file is not None
        while self._place < until:
            # A write may be short without an exception: what counts is what it says it took.
            part = self._ring.between(self._place, until)[0]
            taken = await self._file.write(part)
            self._place += taken
            self._bytes += taken

    def _is_due(self) -> bool:
        # Only between lines: a segment that ended inside one would tear it.
        if self._place != self._ring.tail:
            return False
        age = time.monotonic() - self._opened
        return self._bytes >= self._rotation.max_bytes or age >= self._rotation.max_seconds

    async def _rotate(self) -> None:
        """Begin the next segment; the one in use stays in use if that fails."""
        name = segment_name(time.time(), self._log.boot, self._number + 1)
        try:
            file = await self._begin(self._folder / name)
        except OSError:
            if self._file is None:
                raise
            self._opened, self._bytes = time.monotonic(), 0  # try again when it would be due once more
            return
        await self._close_file()
        self._file, self._name, self._number = file, name, self._number + 1
        self._opened = time.monotonic()

    async def _begin(self, path: Path) -> AsyncFileIO:
        """A new segment with its first line written. Raises ``OSError`` and leaves no file behind."""
        if self._opening is None:  # one that could not be written is kept: it has its place in `seq`
            self._opening = self._first_line()
        file = await aiofiles.open(path, "xb", buffering=0, opener=create, executor=self._executor)
        try:
            taken = 0
            while taken < len(self._opening):
                taken += await file.write(self._opening[taken:])
        except OSError:
            await file.close()
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - it is our own, new and empty
            raise
        self._bytes, self._opening = taken, None
        return file

    def _first_line(self) -> bytes:
        line = self._log.line(
            "INFO", "segment_opened", segment=self._number + 1, previous=self._name, **self._about, padding=""
        )
        return line[:-3] + b" " * (FIRST_LINE_BYTES - len(line)) + line[-3:]

    async def _abandon(self) -> None:
        """Leave the segment to its fate; what it did not take whole goes to the next one."""
        await self._close_file()
        done = b"".join(self._ring.between(self._ring.tail, self._place))
        self._ring.release(self._ring.tail + done.rfind(b"\n") + 1)
        self._place = self._ring.tail

    async def _close_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                await file.close()
            except Exception as error:  # As above: the writer outlives whatever a file throws.
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self.failing_since is None:
            self.failing_since = time.monotonic()
            self.failure = symbol(error)
            standard_error.error(
                "log_write_failed", errno=self.failure, message=str(error), waiting_bytes=self._ring.used
            )

    def _resumed(self) -> None:
        if self.failing_since is not None:
            seconds = round(time.monotonic() - self.failing_since, 3)
            self.failing_since = None
            self._log.own("log_write_resumed", seconds=seconds, errno=self.failure)


def symbol(error: Exception) -> str:
    """The name of an error: `ENOSPC` for an ``OSError`` that has a number, else its type."""
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, type(error).__name__) if number else type(error).__name__


def is_full(error: Exception) -> bool:
    """Whether `error` says that there is no room; another file would find none either."""
    return getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}
