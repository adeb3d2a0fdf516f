"""The writer task: from the ring to the disk.

Everything that waits is written in one call, so the cost of an event falls as the load rises. Nothing here raises into a
request, and whatever is thrown at the task, it goes on.

A write that fails is tried again from the very byte at which it stopped. A flush that fails is never retried: what the kernel then
still has of the file cannot be known, so everything since the last good flush is written again, to a new segment, and readers drop
the duplicates by (`boot`, `seq`). On a full disk the reserve is given up and only what is urgent is written.
"""

import asyncio
import contextlib
import errno
import os
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.catalogue import LEVELS, Event, Field, declare
from pipeline.checksum import HASH_BYTES
from pipeline.exceptions import EXCEPTION_FIELDS, describe
from pipeline.log import Log, standard_error
from pipeline.ring import Ring
from pipeline.segments import MAX_LIVE
from pipeline.waiting import WAKE, WaitingEvents

from .durable import Durable
from .outage import Outage, symbol
from .progress import Progress, Span
from .reserve import Reserve, is_full
from .silence import Silence
from .stream import SegmentGone, Segments

declare(
    [
        Event(
            "segment_vanished",
            "WARNING",
            "The segment being written was deleted or moved under the server. What it got in the last second is written again.",
            {"name": Field("the segment's name")},
            always=True,
        ),
        Event(
            "rotation_postponed",
            "WARNING",
            "The next segment cannot be opened; the present one stays in use. Told once for each outage.",
            {
                "errno": Field(
                    "the error's symbol, such as ENOSPC; EMFILE when there are 50 segments already"
                ),
                "message": Field("its text", free=True),
            },
            always=True,
        ),
        Event(
            "log_writer_failed",
            "ERROR",
            "A bug in the writer: it goes on. Told on standard error.",
            EXCEPTION_FIELDS,
        ),
    ]
)

FLUSH_SECONDS = 0.75
"""How old an ordinary line gets at most before its flush begins; it is to be over within a second."""
_UNFLUSHED = 0.25  # the part of the ring that may hold lines which are written and not flushed
_RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
_FLUSH_RETRY_SECONDS = (0.0, 1.0, 5.0, 30.0)  # each costs a segment
_ROTATION_RETRY_SECONDS = 10.0
_ERROR = LEVELS["ERROR"]


class Writer:
    """Takes word of events from `queue` and their bytes from `ring`; appends them to `segments`.

    `before_batch` is called before each write; `make_folder`, in the writer's thread, when the folder has gone.
    """

    def __init__(
        self,
        log: Log,
        ring: Ring,
        queue: WaitingEvents,
        segments: Segments,
        reserve: Reserve,
        *,
        about: Mapping[str, Any],
        linger_seconds: float,
        before_batch: Callable[[], None],
        make_folder: Callable[[], None],
    ) -> None:
        self._log = log
        self._ring = ring
        self._queue = queue
        self._segments = segments
        self._reserve = reserve
        self._about = about
        self._linger = linger_seconds
        self._before_batch = before_batch
        self._make_folder = make_folder
        self._progress = Progress(ring)
        self._opening: Span | None = None  # of the line that opens the segment, or is to open the next
        self._durable = Durable()
        self.outage = Outage(log)
        self._flushed_at = time.monotonic()
        self._failed_flushes = 0
        self._rotate_after = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._busy = False
        self._silence = Silence()
        self._full = False
        self._stopping = False

    async def open(self) -> None:
        """Open the first segment. Raises ``OSError`` when the folder does not take it."""
        await self._segments.begin(self._first_line)
        with contextlib.suppress(OSError):  # The log can do without.
            await self._segments.run(self._reserve.take)

    def lead(self, lines: bytes, until: int, then: Callable[[], None]) -> None:
        """Before anything else `lines` are to be written; they stand for what the ring holds up to its line `until`.

        `then` is called when they are flushed.
        """
        self._progress.lead_with(lines, until, then)

    async def run(self) -> None:
        """Write until `stop`."""
        while not self._stopping:
            await self._wait()
            await self._round()

    async def finish(self) -> None:
        """Write what is left, flush it, and close; however long that takes."""
        await self._round(last=True)
        while not self._progress.is_done:
            await asyncio.sleep(self._flush_pause)
            await self._round(last=True)
        await self._segments.close()
        await self._segments.run(self._reserve.give)

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping = True

    def look(self) -> None:
        """To be called each second: nobody is kept waiting for a disk that does not answer."""
        if self._silence.look(self._segments.answered, busy=self._busy):
            silent = TimeoutError(errno.ETIMEDOUT, "the disk does not answer")
            self._failed(silent)
            self.refuse(silent)

    @property
    def waiting(self) -> int:
        """How many lines are not written."""
        return self._progress.waiting

    async def flushed(self, number: int) -> None:
        """Return when line `number` is flushed, and its segment's entry in the folder. Raises ``NotDurable``."""
        if number > self._ring.tail:
            await self._durable.until_flushed(number)

    async def _wait(self) -> None:
        """Until there is something to do; under load a little longer, for batches of hundreds instead of chasing the tail."""
        if not self._progress.is_done and self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._wake)
        level = (await self._queue.first())[1]
        if 0 < level < _ERROR and self._linger:
            await asyncio.sleep(self._linger)

    def _wake(self) -> None:
        self._alarm = None
        self._queue.put_nowait(WAKE)

    async def _round(self, *, last: bool = False) -> None:
        """Write everything that waits, and flush when that is due."""
        self._busy = True
        try:
            self._before_batch()
            until = self._ring.head
            await self._write(until)
            if (last or self._flush_is_due()) and not await self._flush():
                await self._write(until)
        except Exception as error:  # A bug here must not end the log: promise 7.
            standard_error.error("log_writer_failed", **describe(error))
            await asyncio.sleep(_RETRY_SECONDS[-1])
        finally:
            self._busy = False

    @property
    def _flush_pause(self) -> float:
        """How long to leave the disk alone after a flush that failed."""
        failed = self._failed_flushes
        return _FLUSH_RETRY_SECONDS[min(failed, len(_FLUSH_RETRY_SECONDS)) - 1] if failed else 0.0

    def _flush_is_due(self) -> bool:
        if self._progress.is_flushed:
            return False
        since = time.monotonic() - self._flushed_at
        if self._failed_flushes:
            return since >= self._flush_pause
        much = self._progress.unflushed_bytes > self._ring.size * _UNFLUSHED
        return bool(self._durable) or since >= FLUSH_SECONDS or much

    async def _write(self, until: int) -> None:
        """Put the ring's lines up to `until` into segments, however often it takes."""
        attempt = 0
        while self._progress.number < until or self._progress.lead or self._full:
            try:
                if self._full:
                    await self._write_urgent()
                if not self._segments.is_open or self._is_due():
                    await self._rotate()
                await self._append(until)
            except (
                Exception
            ) as error:  # Also what is no OSError: a thread that cannot start, a file closed under us.
                self._segments.leave_index()
                self._failed(error)
                self.refuse(error)
                await self._make_way(error, attempt)
                await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
        self._resumed()

    async def _make_way(self, error: Exception, attempt: int) -> None:
        """What may help the next attempt. Never raises."""
        try:
            if is_full(error):
                if not self._full:
                    await self._segments.run(self._reserve.give)
                self._full = True
            elif isinstance(error, FileNotFoundError):
                await self._segments.run(self._make_folder)
            elif _is_time_for_another(attempt):
                await self._abandon()
        except Exception as another:  # It is tried again, and `failure` has the first one's name.
            self._failed(another)

    async def _append(self, until: int) -> None:
        progress, segments, ring = self._progress, self._segments, self._ring
        if progress.lead:
            segments.leave_index()
        while progress.lead:
            progress.lead = progress.lead[await segments.write(progress.lead) :]
        ends, hashes = ring.lines(progress.number + 1, until)
        for start, end in progress.spans(until):
            offset = segments.bytes - start
            progress.place = start
            while progress.place < end:
                progress.place += await segments.write(ring.between(progress.place, end)[0])
            first, last = bisect_right(ends, start), bisect_right(ends, end)
            starts = array("Q", [start]) + ends[first : last - 1]
            segments.wrote(starts, offset, hashes[first * HASH_BYTES : last * HASH_BYTES])
        progress.wrote(until)

    async def _write_urgent(self) -> None:
        """On a full disk: what fits into the reserve. Returns when there is room again, raises ``OSError`` while there is none."""
        # First, or the reserve would take the last inode again; but each segment of a disk that does not flush has its time.
        if not self._segments.is_open and time.monotonic() - self._flushed_at >= self._flush_pause:
            await self._rotate()
        if await self._segments.run(self._reserve.take_again):
            self._full = False
            return
        if self._segments.is_open and not self._progress.lead:
            before = self._segments.bytes
            await self._append_urgent()
            if self._segments.bytes != before:
                await self._flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def _append_urgent(self) -> None:
        """The rest of a line that was begun, then errors and what the log tells of itself, wherever they stand in the ring."""
        ring, progress = self._ring, self._progress
        self._segments.leave_index()
        progress.number = progress.whole()
        if not progress.is_between_lines:
            await self._append(progress.number + 1)
        for number in range(progress.number + 1, ring.head + 1):
            span = start, end = ring.end_of(number - 1), ring.end_of(number)
            if ring.level_of(number) < _ERROR or progress.is_ahead(span):
                continue
            line = memoryview(b"".join(ring.between(start, end)))
            taken = await self._segments.write(line)
            if taken < len(line):  # Half a line in the middle of a segment would be damage.
                try:
                    await self._segments.cut(taken)
                except OSError:
                    await self._begin_again()
                    raise
                return
            progress.wrote_ahead(span)

    async def _flush(self) -> bool:
        """Make what is written safe and release it. False when it is not, and all since the last good flush must be written again."""
        number = self._progress.number
        try:
            if self._segments.is_open:
                await self._segments.sync()
        except SegmentGone as gone:
            await self._begin_again()
            await self._make_way(FileNotFoundError(), 0)
            self._log.own("segment_vanished", name=str(gone))
            return False
        except Exception as error:
            self._failed_flushes += 1
            self._flushed_at = time.monotonic()
            self._failed(error)
            if self._failed_flushes > 1:
                self.refuse(error)
            await self._begin_again()
            return False
        self._failed_flushes = 0
        self._flushed_at = time.monotonic()
        self._progress.flushed(number)
        self._durable.flushed(number)
        self._resumed()
        return True

    async def _begin_again(self) -> None:
        """Everything since the last good flush goes to another segment."""
        self._segments.leave_index()
        await self._segments.close()
        self._progress.begin_again()

    async def _abandon(self) -> None:
        """Leave a segment that takes no more to its fate; what it did not take whole goes to the next one."""
        whole = self._progress.whole()
        if self._segments.is_open:
            try:
                await self._segments.sync()
            except (OSError, SegmentGone):
                await self._begin_again()
                return
        if self._progress.lead:
            await self._begin_again()
            return
        await self._segments.close()
        self._progress.wrote(whole)

    def _is_due(self) -> bool:
        # Only between lines: a segment that ended inside one would tear it. Nor while flushes fail: each attempt costs a segment, and has its time.
        return (
            self._progress.is_between_lines
            and not self._failed_flushes
            and self._segments.is_due
            and time.monotonic() >= self._rotate_after
        )

    async def _rotate(self) -> None:
        """Begin the next segment. The present one is flushed first, and stays in use when there can be no next one."""
        try:
            await self._check_room()
            if self._segments.is_open:
                await self._flush()
            await self._segments.begin(self._first_line)
        except OSError as error:
            if not self._segments.is_open:
                raise
            self._take_back()
            self._postpone(error)
        else:
            self._rotate_after = 0.0

    async def _check_room(self) -> None:
        """Raise ``OSError`` when there are too many segments. Without one in use there must be a next one, but not for ever more copies of what a disk does not flush."""
        if (self._segments.is_open or self._failed_flushes > 1) and not await self._segments.has_room():
            raise OSError(errno.EMFILE, f"there are {MAX_LIVE} segments already, which wait for the archive")

    def _take_back(self) -> None:
        """The line of a segment that was not begun is written in its turn: kept for the next, it would be missing for as long as that takes."""
        # One that found no room in the ring is kept, or its number would be missing for good.
        if self._opening is not None and self._segments.forget_opening():
            self._progress.take_back(self._opening)

    def _postpone(self, error: OSError) -> None:
        if not self._rotate_after:
            self._log.own("rotation_postponed", errno=symbol(error), message=str(error))
        self._rotate_after = time.monotonic() + _ROTATION_RETRY_SECONDS

    def _first_line(self, segment: int, previous: str | None) -> bytes:
        """The line that opens a segment. It is in the ring too, so that its number is not lost when the process dies before it is written."""
        fields = {"segment": segment, "previous": previous, **self._about, "padding": ""}
        number = self._log.own("segment_opened", **fields)
        if not number:  # A ring that is full to the brim needs a segment all the same.
            self._opening = None
            return self._log.line("INFO", "segment_opened", **fields)
        self._opening = self._ring.end_of(number - 1), self._ring.end_of(number)
        self._progress.wrote_ahead(self._opening)
        return b"".join(self._ring.between(*self._opening))

    def _failed(self, error: Exception) -> None:
        self.outage.begin(error, self._ring.used)

    def refuse(self, error: Exception) -> None:
        """Tell whoever waits for a flush that it will not come."""
        self._durable.refuse(symbol(error))

    def _resumed(self) -> None:
        if not self._failed_flushes and not self._full:
            self.outage.end()


def _is_time_for_another(attempt: int) -> bool:
    """Whether to begin another segment after that many attempts at this one: after 1, 3, 7, 15, then each 32, since each may leave a file."""
    return attempt & (attempt + 1) == 0 < attempt or attempt % 32 == 31
