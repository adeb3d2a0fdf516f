"""The heartbeat: every ten seconds one event says how the process is, so that silence is evidence.

`LoopLag` watches the event loop: it asks to be woken at a fixed pace and notes how late it was.
"""

import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from .catalogue import Event, Field, declare
from .eventlog import EventLog
from .log import log

HEARTBEAT_SECONDS = 10.0
_TICK_SECONDS = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

declare(
    [
        Event(
            "heartbeat",
            "INFO",
            "How the process is, every ten seconds.",
            {
                "uptime_seconds": Field("since the start"),
                "loop_lag_ms": Field("how late the event loop was at the worst since the last heartbeat"),
                "rss_bytes": Field("resident memory"),
                "open_files": Field("open file descriptors"),
                "open_files_limit": Field("how many there may be"),
                "disk_free_bytes": Field("free where the log is"),
                "queue_depth": Field("events that wait to be written"),
                "queue_oldest_ms": Field("how long the oldest of them has waited"),
                "ring_used_bytes": Field("their size"),
                "events_written": Field("since the start"),
                "events_dropped": Field("since the start"),
                "events_lost": Field(
                    "since the start: accepted by a process that was killed, and not to be read back"
                ),
                "clock_drift_ms": Field(
                    "wall clock minus monotonic clock since the last heartbeat: a jump shows here"
                ),
                "inflight": Field("requests being served"),
                "mail_waiting": Field("letters that wait to be sent, those of all workers"),
                "mail_oldest_seconds": Field("how long the oldest of them has waited"),
                "dependencies": Field("the state of each dependency"),
            },
        )
    ]
)


class LoopLag:
    """How late the event loop runs: `last_ms`, the worst since it was last asked, and what lasts.

    `lasting_ms` is what it was late at least each of the last three times, so that one pause of the machine does not show in it.
    """

    def __init__(self) -> None:
        self.last_ms = self.lasting_ms = 0.0
        self._worst_ms = 0.0
        self._before = (0.0, 0.0)

    async def watch(self) -> None:
        """Measure until cancelled."""
        clock = time.perf_counter  # uvloop's own clock counts whole milliseconds
        while True:
            due = clock() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self.last_ms = round(max(0.0, clock() - due) * 1000, 3)
            self._worst_ms = max(self._worst_ms, self.last_ms)
            self.lasting_ms = min(self.last_ms, *self._before)
            self._before = self.last_ms, self._before[0]

    def take_worst_ms(self) -> float:
        """The worst since the last call."""
        worst, self._worst_ms = self._worst_ms, self.last_ms
        return worst


async def beat(
    events: EventLog,
    lag: LoopLag,
    more: Callable[[], Awaitable[Mapping[str, Any]]],
    *,
    every_seconds: float = HEARTBEAT_SECONDS,
) -> None:
    """Emit a `heartbeat` at that pace until cancelled; `more` adds what only the program knows."""
    started = time.monotonic()
    wall, monotonic = time.time(), started
    while True:
        await asyncio.sleep(every_seconds)
        passed_wall, passed = time.time() - wall, time.monotonic() - monotonic
        wall, monotonic = wall + passed_wall, monotonic + passed
        status = events.status()
        log.info(
            "heartbeat",
            uptime_seconds=round(monotonic - started, 1),
            loop_lag_ms=lag.take_worst_ms(),
            rss_bytes=rss_bytes(),
            open_files=_open_files(),
            open_files_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            disk_free_bytes=_disk_free(events.folder),
            queue_depth=status.queue_depth,
            queue_oldest_ms=round(status.oldest_seconds * 1000, 1),
            ring_used_bytes=status.ring_used_bytes,
            events_written=status.written,
            events_dropped=status.dropped,
            events_lost=status.lost,
            clock_drift_ms=round((passed_wall - passed) * 1000, 1),
            **await more(),
        )


def rss_bytes() -> int | None:
    """This process's resident memory; None where the system does not tell (it has no /proc)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return None


def _open_files() -> int | None:
    try:
        return len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        return None


def _disk_free(folder: Path) -> int | None:
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize
