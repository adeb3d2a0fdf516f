"""A server's life, and what the log is told of it: it starts, serves, drains and has stopped."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log

if TYPE_CHECKING:
    from pipeline.eventlog import EventLog
    from pipeline.reading.reader import Start

declare(
    [
        Event(
            "server_started",
            "INFO",
            "The server takes requests.",
            {
                "url": Field("where visitors reach it"),
                "listening": Field("the address it listens on"),
                "environment": Field("development or production"),
                "worker": Field("which of the workers this is, from 1"),
                "workers": Field("how many there are"),
                "settings": Field("what is in force, secrets masked"),
                "previous_boot": Field("the start before this one that wrote to the same folder, or null"),
                "previous_boot_crashed": Field("whether that one ended without `server_stopped`"),
            },
            always=True,
        ),
        Event(
            "worker_died",
            "WARNING",
            "A worker ended without a stop and was replaced by this one, which found in its ring what it had not written.",
            {
                "worker": Field("which of the workers it was"),
                "pid": Field("its process"),
                "of_boot": Field("its start"),
            },
            always=True,
        ),
        Event(
            "server_stopping",
            "INFO",
            "The server was asked to stop; it finishes what is in flight.",
            {"inflight": Field("requests being served"), "reason": Field("the signal")},
            always=True,
        ),
        Event(
            "server_stopped",
            "INFO",
            "The last event of an orderly stop.",
            {"uptime_seconds": Field("since the start")},
            always=True,
        ),
        Event(
            "config_changed",
            "INFO",
            "This start has other settings than the one before.",
            {"previous": Field("the hash of the settings before"), "current": Field("the hash of those now")},
        ),
    ]
)

Phase = Literal["starting", "serving", "draining"]


class Group(NamedTuple):
    """What the workers of one server have in common: the run's name, how many they are, and what came before.

    `started` is when the first of them began, in seconds of the monotonic clock, which all processes of a machine share.
    """

    run: str
    workers: int
    previous: "Start | None"
    started: float


class Life:
    """The life of one worker of a group, up to now: `phase` says how far it has come."""

    def __init__(self, group: Group) -> None:
        self.phase: Phase = "starting"
        self.worker = 1
        self.first = False
        """Whether this is the first worker of a run, and no one that replaces another."""
        self._group = group

    @property
    def uptime_seconds(self) -> int:
        """Whole seconds since the first worker's start."""
        return int(time.monotonic() - self._group.started)

    def begin(self, events: "EventLog") -> None:
        """It has a log, which knows whose place it takes."""
        dead = events.predecessor
        replaces = dead is not None and dead.run == self._group.run
        self.worker, self.first = events.worker, events.worker == 1 and not replaces
        if dead is not None and replaces:
            log.warning("worker_died", worker=self.worker, pid=dead.pid, of_boot=dead.boot)

    def serve(
        self, url: str, listening: str, environment: str, settings: Mapping[str, Any], fingerprint: str
    ) -> None:
        """It takes requests. `settings` have no secrets, and `fingerprint` tells them from others."""
        self.phase = "serving"
        previous = self._group.previous
        if previous is not None and previous.config != fingerprint and self.first:
            log.info("config_changed", previous=previous.config, current=fingerprint)
        log.info(
            "server_started",
            url=url,
            listening=listening,
            environment=environment,
            worker=self.worker,
            workers=self._group.workers,
            settings=settings,
            previous_boot=previous.boot if previous is not None else None,
            previous_boot_crashed=previous is not None and not previous.stopped,
        )

    def drain(self, inflight: int, reason: str) -> None:
        """It was asked to stop, and takes no more requests."""
        self.phase = "draining"
        log.info("server_stopping", inflight=inflight, reason=reason)

    def end(self) -> None:
        """All is done but the log's own end; a start that failed has no stop."""
        if self.phase == "draining":
            log.info("server_stopped", uptime_seconds=self.uptime_seconds)
