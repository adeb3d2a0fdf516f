"""The writer task: from the ring to the disk.

Everything that waits is written in one call, so the cost of an event falls as the load rises. Nothing here raises into a
request, and whatever is thrown at the task, it goes on.

A line is in one of three states, and two places in the ring tell them apart:

    tail ──── written, not yet flushed ──── written ──── waiting ──── head

A write that fails is tried again from the very byte at which it stopped. A flush that fails is never retried: what the kernel then
still has of the file cannot be known, so everything since the last good flush is written again, to a new segment, and readers drop
the duplicates by (`boot`, `seq`). On a full disk the reserve is given up and only what is urgent is written.
"""

import asyncio
import contextlib
import errno
import os
import time
from bisect import insort
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.catalogue import LEVELS, Event, Field, declare
from pipeline.exceptions import EXCEPTION_FIELDS, describe
from pipeline.log import Log, NotDurable, standard_error
from pipeline.ring import Ring
from pipeline.segments import MAX_LIVE
from pipeline.waiting import WAKE, WaitingEvents

from .reserve import Reserve, is_full
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
            "log_write_failed",
            "ERROR",
            "The log cannot be written; events wait in the ring. Told on standard error, once for each outage.",
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
SILENT_SECONDS = 3
"""How long a call to the disk may take before nobody is kept waiting for it."""
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
        self._number = ring.tail  # the last line that is wholly written
        self._place = ring.tail_place  # how far the ring is written, perhaps into the middle of a line
        self._recovered = (b"", ring.tail)
        self._then: Callable[[], None] | None = None
        self._lead = memoryview(b"")  # what is left of the recovered lines, which come first
        self._ahead: list[
            tuple[int, int]
        ] = []  # places of lines that were written before their turn, in order
        self._opening = (0, 0)  # the place of the line that opens the segment, or is to open the next
        self._durable: list[tuple[int, asyncio.Future[None]]] = []
        self._flushed_at = time.monotonic()
        self._failed_flushes = 0
        self._rotate_after = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._busy = False
        self._answered = self._silent_looks = 0
        self._full = False
        self._stopping = False
        self.failing_since: float | None = None
        self.failure = ""

    async def open(self) -> None:
        """Open the first segment. Raises ``OSError`` when the folder does not take it."""
        await self._segments.begin(self._first_line)
        with contextlib.suppress(OSError):  # The log can do without.
            await self._segments.run(self._reserve.take)

    def lead(self, lines: bytes, until: int, then: Callable[[], None]) -> None:
        """Before anything else `lines` are to be written; they stand for what the ring holds up to its line `until`.

        `then` is called when they are flushed.
        """
        self._recovered = (lines, until)
        self._then = then
        self._begin_at_tail()

    async def run(self) -> None:
        """Write until `stop`."""
        while not self._stopping:
            await self._wait()
            await self._round()

    async def finish(self) -> None:
        """Write what is left, flush it, and close; however long that takes."""
        await self._round(last=True)
        while self._unflushed:
            await asyncio.sleep(self._flush_pause)
            await self._round(last=True)
        await self._segments.close()
        await self._segments.run(self._reserve.give)

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping = True

    def look(self) -> None:
        """To be called each second: a disk that does not answer is none, and whoever waits for it is told so.

        Seconds are counted by these calls and not by a clock: while the process itself is stopped, nobody looks.
        """
        answered, self._answered = self._answered, self._segments.answered
        self._silent_looks = self._silent_looks + 1 if self._busy and answered == self._answered else 0
        if self._silent_looks >= SILENT_SECONDS:
            silent = TimeoutError(errno.ETIMEDOUT, "the disk does not answer")
            self._failed(silent)
            self._refuse(silent)

    @property
    def waiting(self) -> int:
        """How many lines are not written."""
        return self._ring.head - self._number

    async def flushed(self, number: int) -> None:
        """Return when line `number` is flushed, and its segment's entry in the folder. Raises ``NotDurable``."""
        if number > self._ring.tail:
            done = asyncio.get_running_loop().create_future()
            self._durable.append((number, done))
            await done

    async def _wait(self) -> None:
        """Until there is something to do; under load a little longer, for batches of hundreds instead of chasing the tail."""
        if self._unflushed and self._alarm is None:
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
    def _unflushed(self) -> bool:
        """Whether there is anything that a flush would make safe, or that is still to be written."""
        return self._ring.head != self._ring.tail or self._then is not None

    @property
    def _flush_pause(self) -> float:
        """How long to leave the disk alone after a flush that failed."""
        failed = self._failed_flushes
        return _FLUSH_RETRY_SECONDS[min(failed, len(_FLUSH_RETRY_SECONDS)) - 1] if failed else 0.0

    def _flush_is_due(self) -> bool:
        if self._number == self._ring.tail and self._then is None:
            return False
        since = time.monotonic() - self._flushed_at
        if self._failed_flushes:
            return since >= self._flush_pause
        unflushed = self._ring.end_of(self._number) - self._ring.tail_place
        return bool(self._durable) or since >= FLUSH_SECONDS or unflushed > self._ring.size * _UNFLUSHED

    async def _write(self, until: int) -> None:
        """Put the ring's lines up to `until` into segments, however often it takes."""
        attempt = 0
        while self._number < until or self._lead or self._full:
            try:
                if self._full:
                    await self._write_urgent()
                if not self._segments.is_open or self._is_due():
                    await self._rotate()
                await self._append(until)
            except (
                Exception
            ) as error:  # Also what is no OSError: a thread that cannot start, a file closed under us.
                self._failed(error)
                self._refuse(error)
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
        while self._lead:
            self._lead = self._lead[await self._segments.write(self._lead) :]
        for start, end in self._turns(until):
            self._place = start
            while self._place < end:
                self._place += await self._segments.write(self._ring.between(self._place, end)[0])
        self._number, self._place = until, self._ring.end_of(until)
        if self._ahead:
            self._ahead = [(start, end) for start, end in self._ahead if start >= self._place]

    def _turns(self, until: int) -> Iterator[tuple[int, int]]:
        """The places still to be written up to the line `until`: without those that were written ahead."""
        place, last = self._place, self._ring.end_of(until)
        for start, end in [*self._ahead, (last, last)]:
            if place <= start <= last:
                if place < start:
                    yield place, start
                place = end

    async def _write_urgent(self) -> None:
        """On a full disk: what fits into the reserve. Returns when there is room again, raises ``OSError`` while there is none."""
        if await self._segments.run(self._reserve.take_again):
            self._full = False
            return
        if self._segments.is_open and not self._lead:
            before = self._segments.bytes
            await self._append_urgent()
            if self._segments.bytes != before:
                await self._flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def _append_urgent(self) -> None:
        """The rest of a line that was begun, then errors and what the log tells of itself, wherever they stand in the ring."""
        ring = self._ring
        self._number = self._whole()
        if self._place > ring.end_of(self._number):
            await self._append(self._number + 1)
        ahead = frozenset(self._ahead)
        for number in range(self._number + 1, ring.head + 1):
            start, end = ring.end_of(number - 1), ring.end_of(number)
            if ring.level_of(number) < _ERROR or (start, end) in ahead:
                continue
            line = memoryview(b"".join(ring.between(start, end)))
            taken = await self._segments.write(line)
            if taken < len(line):  # Half a line in the middle of a segment would be damage.
                await self._segments.cut(taken)
                return
            insort(self._ahead, (start, end))

    def _whole(self) -> int:
        """The last line that is wholly written."""
        number = self._number
        while number < self._ring.head and self._ring.end_of(number + 1) <= self._place:
            number += 1
        return number

    async def _flush(self) -> bool:
        """Make what is written safe and release it. False when it is not, and all since the last good flush must be written again."""
        number = self._number
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
                self._refuse(error)
            await self._begin_again()
            return False
        self._failed_flushes = 0
        self._flushed_at = time.monotonic()
        self._ring.release(number)
        if self._then is not None:
            self._then()
            self._then, self._recovered = None, (b"", 0)
        waiting, self._durable = self._durable, []
        for waited, done in waiting:
            if waited > number:
                self._durable.append((waited, done))
            elif not done.done():
                done.set_result(None)
        self._resumed()
        return True

    async def _begin_again(self) -> None:
        """Everything since the last good flush goes to another segment."""
        await self._segments.close()
        self._begin_at_tail()

    def _begin_at_tail(self) -> None:
        lines, until = self._recovered
        if self._then is None:
            self._number = self._ring.tail
        else:
            self._lead, self._number = memoryview(lines), until
        self._place = self._ring.end_of(self._number)
        self._ahead = []

    async def _abandon(self) -> None:
        """Leave a segment that takes no more to its fate; what it did not take whole goes to the next one."""
        whole = self._whole()
        if self._segments.is_open:
            try:
                await self._segments.sync()
            except (OSError, SegmentGone):
                await self._begin_again()
                return
        if self._lead:
            await self._begin_again()
            return
        await self._segments.close()
        self._number, self._place = whole, self._ring.end_of(whole)

    def _is_due(self) -> bool:
        # Only between lines: a segment that ended inside one would tear it.
        between = self._place == self._ring.end_of(self._number) and not self._lead
        # Nor while flushes fail: each attempt costs a segment, and has its time.
        return (
            between
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
        if self._segments.forget_opening() and self._opening in self._ahead:
            self._ahead.remove(self._opening)

    def _postpone(self, error: OSError) -> None:
        if not self._rotate_after:
            self._log.own("rotation_postponed", errno=symbol(error), message=str(error))
        self._rotate_after = time.monotonic() + _ROTATION_RETRY_SECONDS

    def _first_line(self, segment: int, previous: str | None) -> bytes:
        """The line that opens a segment. It is in the ring too, so that its number is not lost when the process dies before it is written."""
        fields = {"segment": segment, "previous": previous, **self._about, "padding": ""}
        number = self._log.own("segment_opened", **fields)
        if not number:  # A ring that is full to the brim needs a segment all the same.
            return self._log.line("INFO", "segment_opened", **fields)
        self._opening = self._ring.end_of(number - 1), self._ring.end_of(number)
        self._ahead.append(self._opening)
        return b"".join(self._ring.between(*self._opening))

    def _failed(self, error: Exception) -> None:
        if self.failing_since is None:
            self.failing_since = time.monotonic()
            self.failure = symbol(error)
            standard_error.error(
                "log_write_failed", errno=self.failure, message=str(error), waiting_bytes=self._ring.used
            )

    def _refuse(self, error: Exception) -> None:
        """Who waits for a flush is told that it will not come."""
        waiting, self._durable = self._durable, []
        for _, done in waiting:
            if not done.done():
                done.set_exception(NotDurable(f"the event log cannot be written: {symbol(error)}"))

    def _resumed(self) -> None:
        if self.failing_since is not None and not self._failed_flushes and not self._full:
            seconds = round(time.monotonic() - self.failing_since, 3)
            self.failing_since = None
            self._log.own("log_write_resumed", seconds=seconds, errno=self.failure)


def symbol(error: Exception) -> str:
    """The name of an error: `ENOSPC` for an ``OSError`` that has a number, else its type."""
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, type(error).__name__) if number else type(error).__name__


def _is_time_for_another(attempt: int) -> bool:
    """Whether to begin another segment after that many attempts at this one: after 1, 3, 7, 15, then each 32, since each may leave a file."""
    return attempt & (attempt + 1) == 0 < attempt or attempt % 32 == 31
