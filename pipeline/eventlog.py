"""The event log, put together: `log` → ring and queue → writer → segments, and beside it the windows.

    events = await EventLog(folder).open()      # `log.info(...)` goes to disk from here
    ...
    await events.close(seconds=5)               # and to standard error from here

`accept` is the only thing on the way of a request. It copies bytes into the ring and leaves a note on the queue; when there is no
room it counts. DEBUG gives way first, ERROR last, and for the record of what was lost room is kept. Figures do not wait for the
disk (see `counting`).
"""

import asyncio
import contextlib
import errno
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from threading import get_ident
from typing import IO, Any, NamedTuple, Self

from .catalogue import Event, Field, Level, Observe, declare
from .counting import count
from .exceptions import describe
from .figures.windows import Windows
from .keeping.keeper import Keeper, tell
from .keeping.retention import Limits
from .log import OWN, Fields, Log, NotDurable, StandardError, log, standard_error
from .losses import Losses
from .places import Place, let_go, orphaned, take_place
from .recovery import Recovered, count_recovered, recover
from .ring import Owner
from .segments import FOLDER_MODE, FolderInUse, lock_folder
from .waiting import WAKE, WaitingEvents
from .writing.reserve import Reserve
from .writing.stream import Rotation, Segments
from .writing.writer import Writer

declare(
    [
        Event(
            "events_recovered",
            "WARNING",
            "A process was killed. What it had accepted and not written was found in its ring and is now in the log, marked `recovered`.",
            {
                "of_boot": Field("the start that was killed"),
                "pid": Field("its process"),
                "count": Field("how many events were brought into the log"),
                "damaged": Field("how many more could not be read; only a power cut damages a ring"),
            },
            always=True,
        ),
        Event(
            "state_damaged",
            "ERROR",
            "A ring or a figures file could not be read; it was set aside, and a new one is in use. What it held is lost.",
            {"file": Field("where it is now"), "reason": Field("what was wrong with it")},
        ),
        Event(
            "figures_not_kept",
            "ERROR",
            "There is no room for the figures file: until the next start the figures are kept in memory only.",
            {"reason": Field("the system's own words", free=True)},
        ),
        Event(
            "log_closed_early",
            "ERROR",
            "The log could not be drained before the deadline; the next start finds in the ring what waits. Told on standard error.",
            {"waiting_events": Field("how many were not written"), "waiting_bytes": Field("their size")},
        ),
    ]
)

HOURLY = Rotation(max_bytes=64 << 20, max_seconds=3600.0)
MONTHLY = Limits(seconds=30 * 86_400.0, bytes=2 << 30)
ARCHIVE_AFTER_SECONDS = 900.0
_TICK_SECONDS = 1.0
_KEEPER_IDLE_SECONDS = 5.0
_KEEPER_PAUSE_SECONDS = 0.2


class Status(NamedTuple):
    """How the log is doing."""

    queue_depth: int
    oldest_seconds: float
    ring_bytes: int
    ring_used_bytes: int
    written: int
    dropped: int
    lost: int
    failing_seconds: float
    failure: str


class EventLog:
    """A log in `folder`; `open` starts its writer in the running loop.

    Its ring is kept in `state`, by default in `folder` too. Of several processes that write one folder, `workers` of them, each has
    a ring and segments of its own; whoever started them holds the folder's lock, and `run` names what they have in common.
    """

    def __init__(
        self,
        folder: Path,
        *,
        log: Log = log,
        level: Level = "INFO",
        ring_bytes: int = 8 << 20,
        linger_seconds: float = 0.005,
        rotation: Rotation = HOURLY,
        state: Path | None = None,
        workers: int = 1,
        run: str = "",
        archive_after_seconds: float = ARCHIVE_AFTER_SECONDS,
        limits: Limits = MONTHLY,
    ) -> None:
        self.folder = folder
        self._state = state or folder
        self._log = log
        self._level: Level = level
        self._ring_bytes = ring_bytes
        self._linger = linger_seconds
        self._rotation = rotation
        self._workers = workers
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._queue = WaitingEvents()
        # One thread, and its own: a hung disk must not hold up whoever else uses the loop's executor.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log")
        self._keeper = Keeper(folder, archive_after_seconds=archive_after_seconds, limits=limits)
        self._keeper_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log-keeper")
        self._accepted_at_open = 0
        self._dropped = 0
        self._lost = 0
        self._lock_file: IO[bytes] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.worker = 0
        self.predecessor: Owner | None = None

    async def open(self) -> Self:
        """Take the folder, open the first segment, start the writer and direct the log here.

        Raises ``FolderInUse`` when another server has the folder or its state, ``OSError`` when it cannot be written.
        """
        if self._workers == 1:
            self._lock_file = lock_folder(self.folder)
        try:
            await self._open()
        except BaseException:
            self._executor.shutdown(wait=False)
            self._keeper_executor.shutdown(wait=False)
            self._unlock()
            raise
        return self

    async def _open(self) -> None:
        self._state.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        place, damaged = take_place(self._state, self._ring_bytes)
        if self._workers == 1 and place.worker != 1:
            place.close()
            raise FolderInUse(f"another server keeps its state in {self._state}")
        ring, windows = place.ring, place.windows
        self._ring, self._windows = ring, windows
        self.worker, self.predecessor = place.worker, ring.owner
        orphans = orphaned(self._state, self._workers) if self.worker == 1 else []
        recovered = [(one, recover(one.ring, self.folder)) for one in (place, *orphans)]
        for one, found in recovered:
            count_recovered(one.windows, found, one.ring.head)
        self._losses = Losses(ring.losses)
        self._accepted_at_open = ring.head
        about = {
            "pid": os.getpid(),
            "python": platform.python_version(),
            "format": "ChatKit event log: JSON objects, one a line, UTF-8. Order by boot and seq. See docs/EVENTS.md.",
        }
        self._writer = Writer(
            self._log,
            ring,
            self._queue,
            Segments(self._log, self.folder, self._rotation, self._executor, self._keeper_executor),
            Reserve(self.folder),
            about=about,
            linger_seconds=self._linger,
            before_batch=self._before_batch,
            make_folder=self._make_folder,
        )
        lines = b"".join(found.lines for _, found in recovered)
        left = [(one.ring.owner, found) for one, found in recovered]
        self._writer.lead(lines, ring.head, then=lambda: self._tell_recovered(left, orphans))
        self._log.direct(self, level=self._level)
        try:
            await self._writer.open()
        except OSError:
            self._log.direct(None)
            place.close()
            raise
        windows.publish(pid=os.getpid(), started=time.time())
        for name, reason in damaged:
            self._log.error("state_damaged", file=name, reason=reason)
        if windows.failure is not None:
            self._log.error("figures_not_kept", reason=str(windows.failure))
        for one, found in recovered:
            self._lost += found.damaged
            if one.ring.owner is not None:
                self._tell_losses(Losses(one.ring.losses), of_boot=one.ring.owner.boot)
        ring.own(Owner(self._log.boot, self._run, os.getpid()))
        self._tasks = [
            self._loop.create_task(self._write(), name="event-log-writer"),
            self._loop.create_task(self._tick(), name="event-log-tick"),
            self._loop.create_task(self._keep(), name="event-log-keeper"),
        ]

    def _tell_recovered(self, left: list[tuple[Owner | None, Recovered]], orphans: list[Place]) -> None:
        """What dead processes left is in the log for good. Not told before, or a start that is killed meanwhile would have told of nothing."""
        for dead, found in left:
            if dead is not None and (found.missing or found.damaged):
                self._log.own(
                    "events_recovered",
                    of_boot=dead.boot,
                    pid=dead.pid,
                    count=found.missing,
                    damaged=found.damaged,
                )
        let_go(orphans)

    async def close(self, seconds: float = 5.0) -> bool:
        """Write what waits and close. False when the disk did not take it within `seconds`; the loss is told."""
        if not self._tasks:
            return True
        writer, *others = self._tasks
        self._tasks = []
        self._keeper.stop()
        for task in others:
            task.cancel()
        self._writer.stop()
        self._queue.put_nowait(WAKE)
        try:
            await asyncio.wait_for(asyncio.shield(writer), seconds)
        except TimeoutError:
            self._log.direct(_Closing(self), level="WARNING")
            self._writer.refuse(TimeoutError(errno.ETIMEDOUT, "the log was closed"))
            standard_error.error(
                "log_closed_early", waiting_events=self._writer.waiting, waiting_bytes=self._ring.used
            )
            self._keeper_executor.shutdown(wait=False)
            self._unlock()
            return False
        self._log.direct(None, level="WARNING")
        self._windows.close()
        self._ring.own(None)
        self._ring.close()
        self._executor.shutdown(wait=False)
        self._keeper_executor.shutdown(wait=False)
        self._unlock()
        return True

    def _unlock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def accept(  # noqa: PLR0917 - the way of every event: a tuple would cost
        self, line: bytes, level: int, seq: int, request: int, observe: Observe | None, fields: Fields
    ) -> int:
        """Take one encoded event, or count it as lost. Called under the log's lock, from any thread."""
        number = self._ring.put(line, level, request)
        if not number:
            self._dropped += 1
            self._losses.add(level, seq)
            if observe is None:
                return 0
        if get_ident() == self._thread:
            self._queue.put_nowait((number, level, observe, fields))
        else:
            # When the loop is gone, what lies in the ring is still written at the close.
            with contextlib.suppress(RuntimeError):
                self._queue.put_from_thread((number, level, observe, fields))
        return number

    def check_durable(self) -> None:
        """Raise ``NotDurable`` when the disk is known not to take anything."""
        outage = self._writer.outage
        if outage.since is not None:
            raise NotDurable(f"the event log cannot be written: {outage.failure}")

    async def flushed(self, number: int) -> None:
        """Return when the event with that number is flushed. Raises ``NotDurable``."""
        if not number:
            raise NotDurable("the event log is full")
        await self._writer.flushed(number)

    def status(self) -> Status:
        """How the log is doing, as figures."""
        outage = self._writer.outage
        waiting = self._writer.waiting
        return Status(
            queue_depth=waiting,
            oldest_seconds=self._age(self._ring.head - waiting + 1) if waiting else 0.0,
            ring_bytes=self._ring.size,
            ring_used_bytes=self._ring.used,
            written=self._ring.head - waiting - self._accepted_at_open,
            dropped=self._dropped,
            lost=self._lost,
            failing_seconds=time.monotonic() - outage.since if outage.since is not None else 0.0,
            failure=outage.failure if outage.since is not None else "",
        )

    def _age(self, number: int) -> float:
        """Seconds since the line of that number was accepted, by its timestamp."""
        start = self._ring.end_of(number - 1)
        begun = b"".join(self._ring.between(start, start + len(_STAMP)))
        return max(0.0, time.time() - datetime.fromisoformat(begun[14:38].decode()).timestamp())

    @property
    def running(self) -> bool:
        """Whether the writer is there to take events."""
        return bool(self._tasks) and not self._tasks[0].done()

    def figures(self) -> Windows:
        """The windows, with everything in them that has happened: also what a disk that does not answer keeps waiting.

        They are those of all workers, from when the first of them began. Not to be asked after `close`.
        """
        count(self._queue, self._windows)
        self._queue.put_nowait(WAKE)  # What was taken from the queue is still to be written.
        return self._windows

    async def _write(self) -> None:
        await self._writer.run()
        self._tell_losses(self._losses)
        # Who logs from here on is heard on standard error; what came before is written.
        self._log.direct(_Closing(self), level="WARNING")
        await self._writer.finish()

    async def _tick(self) -> None:
        """Each second: count, also while a write hangs, tell the other workers, and let the writer look at its clock."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            count(self._queue, self._windows)
            self._writer.look()
            try:
                self._windows.tick()
                self.publish()
            except Exception as error:  # As in `count`.
                standard_error.error("windows_failed", **describe(error))
            self._queue.put_nowait(WAKE)

    async def _keep(self) -> None:
        """Index, archive and delete closed segments, one step at a time, in a thread that has nothing else to do."""
        while True:
            done = None
            with contextlib.suppress(RuntimeError):  # No thread can be started just now.
                done = await self._loop.run_in_executor(self._keeper_executor, self._keeper.step)
            if done is not None:
                tell(self._log, done)
            await asyncio.sleep(_KEEPER_IDLE_SECONDS if done is None else _KEEPER_PAUSE_SECONDS)

    def publish(self, **more: float) -> None:
        """Let other workers know how this one is, with `more` that only the program knows."""
        status = self.status()
        self._windows.publish(
            events_written=status.written,
            events_dropped=status.dropped,
            events_lost=status.lost,
            queue_depth=status.queue_depth,
            queue_oldest_ms=status.oldest_seconds * 1000,
            ring_used_bytes=status.ring_used_bytes,
            ring_bytes=status.ring_bytes,
            failing_ms=status.failing_seconds * 1000,
            **more,
        )

    def _before_batch(self) -> None:
        count(self._queue, self._windows)
        self._tell_losses(self._losses)

    def _tell_losses(self, losses: Losses, of_boot: str | None = None) -> None:
        of = {"of_boot": of_boot} if of_boot else {}
        with self._log.lock:  # Whoever logs meanwhile may lose something, too.
            told = losses.told()
            # Without room even for this it is told with the next ones.
            if told and self._log.own("events_dropped", **told, **of):
                losses.forget()

    def _make_folder(self) -> None:
        """The folder again, after somebody deleted it."""
        if self._workers == 1:
            self._unlock()
            self._lock_file = lock_folder(self.folder)
        else:
            self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


class _Closing(StandardError):
    """Where events go while the log is being closed: what it tells of itself belongs to it still."""

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def accept(self, line: bytes, level: int, seq: int, *rest: Any) -> int:
        if level == OWN:
            return self._events.accept(line, level, seq, *rest)
        return super().accept(line, level, seq, *rest)


_STAMP = '{"timestamp":"2026-01-01T12:34:56.789Z"'
