"""Is it well? Asked often, by machines that act on the answer, so it is cheap, bounded, and never waits for what hangs.

A dependency is checked at most every two seconds, however often it is asked for, and a check that has not come back within
400 ms counts as failed while it goes on; there is never more than one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, Field

from pipeline.eventlog import EventLog
from server.answers import json_response
from server.dependencies import tell_of_state

FRESH_SECONDS = 2.0
PATIENCE_SECONDS = 0.4

Phase = Literal["starting", "serving", "draining"]


class Dependency:
    """One dependency, checked by `probe`, which raises when it is not there."""

    def __init__(self, name: str, probe: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self.connected: bool | None = None
        self._probe = probe
        self._checked = -FRESH_SECONDS
        self._check: asyncio.Task[None] | None = None

    async def is_connected(self) -> bool:
        """Whether it was there when last asked, at most two seconds ago."""
        if time.monotonic() - self._checked >= FRESH_SECONDS and self._check is None:
            self._check = asyncio.create_task(self._run(), name=f"check-{self.name}")
            self._check.add_done_callback(self._done)
        if self._check is not None:
            try:
                await asyncio.wait_for(asyncio.shield(self._check), PATIENCE_SECONDS)
            except TimeoutError:
                self._set(connected=False, reason="timeout")
        return bool(self.connected)

    async def _run(self) -> None:
        try:
            await self._probe()
        except Exception as error:
            self._set(connected=False, reason=type(error).__name__)
        else:
            self._set(connected=True, reason="")

    def _done(self, _: "asyncio.Task[None]") -> None:
        self._check = None

    def _set(self, *, connected: bool, reason: str) -> None:
        self._checked = time.monotonic()
        if connected != self.connected:
            changed = self.connected is not None or not connected
            self.connected = connected
            if changed:
                tell_of_state(self.name, connected=connected, reason=reason)


class Health:
    """The server's own account of itself.

    `phase` is set by who starts and stops it; `started` is of the monotonic clock; `upstreams` say how they are when asked.
    """

    def __init__(
        self,
        database: Dependency,
        events: EventLog,
        started: float,
        upstreams: Mapping[str, Callable[[], str]] = MappingProxyType({}),
    ) -> None:
        self.phase: Phase = "starting"
        self.started = started
        self._database = database
        self._events = events
        self._upstreams = upstreams

    @property
    def uptime_seconds(self) -> int:
        """Whole seconds since the start."""
        return int(time.monotonic() - self.started)

    async def database_connected(self) -> bool:
        """Whether the database answers."""
        return await self._database.is_connected()

    def dependencies(self) -> Mapping[str, str]:
        """The last known state of each dependency."""
        names = {True: "connected", False: "disconnected", None: "unknown"}
        return {self._database.name: names[self._database.connected], **self.upstreams()}

    def upstreams(self) -> dict[str, str]:
        """The last known state of what is asked over the network. Nobody is asked, and none of it makes the server unwell."""
        return {name: state() for name, state in self._upstreams.items()}

    async def obstacles(self) -> list[str]:
        """Why no traffic should come here now; empty when it should."""
        found: list[str] = [] if self.phase == "serving" else [self.phase]
        status = self._events.status()
        if not self._events.running:
            found.append("log_writer_stopped")
        elif status.failing_seconds:
            found.append(f"log_not_writable: {status.failure}")
        elif any(worker["failing_ms"] for worker in self._events.figures().workers()[1:]):
            found.append("log_not_writable: in another worker")
        if not await self._database.is_connected():
            found.append("database_disconnected")
        return found


HEALTH = web.AppKey("health", Health)


class Report(BaseModel):
    """What `/health` says."""

    status: Literal["ok", "degraded"]
    database: Literal["connected", "disconnected"]
    uptime_seconds: int
    dependencies: dict[str, str] | None = Field(
        None,
        description="What the server can do without, and how it is: `llm`, where one is configured, is `connected`, `disconnected` or "
        "`unknown`.",
    )


class Alive(BaseModel):
    """What `/health/live` says."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """What `/health/ready` says; `reasons` is empty when it is ready."""

    status: Literal["ready", "unavailable"]
    reasons: list[str]


async def health(request: web.Request) -> web.StreamResponse:
    """`ok` (200) or `degraded` (500), the database's state, and the uptime in seconds; of what it can do without, the last known state."""
    state = request.app[HEALTH]
    connected = await state.database_connected()
    report = Report(
        status="ok" if connected else "degraded",
        database="connected" if connected else "disconnected",
        uptime_seconds=state.uptime_seconds,
        dependencies=state.upstreams() or None,
    )
    return json_response(report.model_dump(exclude_none=True), status=200 if connected else 500)


async def live(_: web.Request) -> web.StreamResponse:
    """200 for as long as the process answers at all; touches nothing."""
    return json_response(Alive())


async def ready(request: web.Request) -> web.StreamResponse:
    """200 when traffic should come here; 503 with the reasons while starting, draining or unable to serve."""
    obstacles = await request.app[HEALTH].obstacles()
    report = Readiness(status="unavailable" if obstacles else "ready", reasons=obstacles)
    return json_response(report, status=503 if obstacles else 200)
