"""The event log, put together: `log` → ring and queue → writer → segments and windows.

    events = await EventLog(folder).open()      # `log.info(...)` goes to disk from here
    ...
    await events.close(seconds=5)               # and to standard error from here

`accept` is the only thing on the way of a request. It copies bytes and leaves a note on the queue; when there is no room it
counts. DEBUG gives way first, ERROR last, and for the record of what was lost room is kept. Figures do not wait for the disk:
what was observed is counted with each batch, and whenever somebody asks.
"""

import asyncio
import contextlib
import os
import platform
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, NamedTuple, Self

from .catalogue import LEVELS, Event, Field, Level, Observation, declare
from .exceptions import EXCEPTION_FIELDS, describe
from .log import OWN, Log, log, standard_error
from .ring import Ring
from .segments import lock_folder
from .windows import Windows
from .writer import Rotation, Waiting, Writer

declare(
    [
        Event(
            "events_dropped",
            "WARNING",
            "There was no room for some events. They are missing from the log; figures count them all the same.",
            {
                "from_seq": Field("the first that was dropped"),
                "to_seq": Field("the last that was dropped; those between that are in the log were not"),
                "count": Field("how many were dropped"),
                "by_level": Field("how many of each level"),
            },
            always=True,
        ),
        Event(
            "windows_failed",
            "ERROR",
            "A bug in the figures: the log goes on. Told on standard error.",
            EXCEPTION_FIELDS,
        ),
        Event(
            "log_closed_early",
            "ERROR",
            "The log could not be drained before the deadline. Told on standard error.",
            {"waiting_events": Field("how many were not written"), "waiting_bytes": Field("their size")},
        ),
    ]
)

QUEUE_EVENTS = 65_536
# How much of the ring and of the queue an event of each level may find in use and still be taken.
_SHARE = {
    LEVELS["DEBUG"]: 0.5,
    LEVELS["INFO"]: 0.85,
    LEVELS["WARNING"]: 0.93,
    LEVELS["ERROR"]: 0.97,
    OWN: 1.0,
}
HOURLY = Rotation(max_bytes=64 << 20, max_seconds=3600.0)
_NAMES: dict[int, str] = {number: name for name, number in LEVELS.items()} | {OWN: "WARNING"}


class Status(NamedTuple):
    """How the log is doing."""

    queue_depth: int
    oldest_seconds: float
    ring_bytes: int
    ring_used_bytes: int
    written: int
    dropped: int
    failing_seconds: float
    failure: str


class _Losses:
    """What could not be taken since it was last told."""

    def __init__(self) -> None:
        self.from_seq = 0
        self.to_seq = 0
        self.by_level: dict[str, int] = {}

    def add(self, name: str, seq: int, count: int = 1) -> None:
        self.from_seq = min(self.from_seq or seq, seq)
        self.to_seq = max(self.to_seq, seq)
        self.by_level[name] = self.by_level.get(name, 0) + count


class EventLog:
    """A log in `folder`; `open` starts its writer in the running loop."""

    def __init__(
        self,
        folder: Path,
        *,
        log: Log = log,
        level: Level = "INFO",
        ring_bytes: int = 8 << 20,
        linger_seconds: float = 0.005,
        rotation: Rotation = HOURLY,
    ) -> None:
        self.folder = folder
        self._windows = Windows()
        self._observed: deque[tuple[float, Observation]] = deque()
        self._log = log
        self._level: Level = level
        self._ring = Ring(ring_bytes)
        self._queue: asyncio.Queue[Waiting | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._losses = _Losses()
        self._dropped = 0
        self._waiting_since: float | None = None
        self._lock_file: IO[bytes] | None = None
        self._task: asyncio.Task[None] | None = None
        about = {
            "pid": os.getpid(),
            "python": platform.python_version(),
            "format": "ChatKit event log: JSON objects, one a line, UTF-8. Order by boot and seq. See docs/EVENTS.md.",
        }
        self._writer = Writer(
            log,
            folder,
            self._ring,
            self._queue,
            rotation=rotation,
            linger_seconds=linger_seconds,
            about=about,
            after_batch=self._after_batch,
        )

    async def open(self) -> Self:
        """Take the folder, open the first segment, start the writer and direct the log here.

        Raises ``FolderInUse`` when another server has the folder, ``OSError`` when it cannot be written.
        """
        self._lock_file = lock_folder(self.folder)
        try:
            await self._writer.open()
        except OSError:
            self._lock_file.close()
            raise
        self._task = self._loop.create_task(self._write(), name="event-log-writer")
        self._log.direct(self, level=self._level)
        return self

    async def close(self, seconds: float = 5.0) -> bool:
        """Write what waits and close. False when the disk did not take it within `seconds`; the loss is told."""
        if self._task is None:
            return True
        self._queue.put_nowait(None)
        try:
            await asyncio.wait_for(asyncio.shield(self._task), seconds)
        except TimeoutError:
            standard_error.error(
                "log_closed_early", waiting_events=self._queue.qsize(), waiting_bytes=self._ring.used
            )
            return False
        finally:
            self._task = None
            self._log.direct(None, level="WARNING")
            if self._lock_file is not None:
                self._lock_file.close()
        return True

    def accept(self, line: bytes, level: int, seq: int, observation: Observation | None) -> None:
        """Take one encoded event, or count it as lost. Called under the log's lock, from any thread."""
        ring, share = self._ring, _SHARE[level]
        if observation is not None:
            self._observed.append((time.monotonic(), observation))
        if ring.used + len(line) > ring.size * share or self._queue.qsize() >= QUEUE_EVENTS * share:
            self._dropped += 1
            self._losses.add(_NAMES[level], seq)
            return
        item = Waiting(ring.put(line), level)
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        if threading.get_ident() == self._thread:
            self._queue.put_nowait(item)
        else:
            with contextlib.suppress(
                RuntimeError
            ):  # The loop is gone; what lies in the ring is still written at the close.
                self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    def status(self) -> Status:
        """How the log is doing, as figures."""
        now = time.monotonic()
        failing = self._writer.failing_since
        return Status(
            queue_depth=self._queue.qsize(),
            oldest_seconds=now - self._waiting_since if self._waiting_since is not None else 0.0,
            ring_bytes=self._ring.size,
            ring_used_bytes=self._ring.used,
            written=self._writer.written,
            dropped=self._dropped,
            failing_seconds=now - failing if failing is not None else 0.0,
            failure=self._writer.failure if failing is not None else "",
        )

    @property
    def running(self) -> bool:
        """Whether the writer is there to take events."""
        return self._task is not None and not self._task.done()

    def figures(self) -> Windows:
        """The windows, with everything in them that has happened: also what a disk that does not answer keeps waiting."""
        observed = self._observed
        try:
            while observed:
                at, observation = observed.popleft()
                self._windows.observe(observation, at)
        except Exception as error:  # Figures may suffer from a bug; neither the log nor who asks must.
            standard_error.error("windows_failed", **describe(error))
        return self._windows

    async def _write(self) -> None:
        await self._writer.run()
        self._tell_losses()
        # Who logs from here on is heard on standard error; what came before is written.
        self._log.direct(None, level="WARNING")
        await self._writer.finish()

    def _after_batch(self) -> None:
        self._waiting_since = None if self._queue.empty() else time.monotonic()
        self.figures()
        self._tell_losses()

    def _tell_losses(self) -> None:
        if not self._losses.by_level:
            return
        told, self._losses = self._losses, _Losses()
        dropped = self._dropped
        self._log.own(
            "events_dropped",
            from_seq=told.from_seq,
            to_seq=told.to_seq,
            count=sum(told.by_level.values()),
            by_level=told.by_level,
        )
        if self._dropped != dropped:  # There was no room even for this: it is told with the next ones.
            for name, count in told.by_level.items():
                self._losses.add(name, told.from_seq, count)
                self._losses.add(name, told.to_seq, 0)
