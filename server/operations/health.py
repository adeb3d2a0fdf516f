"""Is it well? Asked often, by machines that act on the answer, so it is cheap, bounded, and never waits for what hangs.

A dependency is checked at most every two seconds, however often it is asked for, and a check that has not come back within
400 ms counts as failed while it goes on; there is never more than one. One that cannot be asked is as whoever uses it tells.

Only the database decides whether the server is well: without any other dependency it does less, and says so.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from aiohttp import web
from pydantic import BaseModel

from pipeline.eventlog import EventLog
from server.answers import json_response
from server.dependencies import State, tell_of_state
from server.lifecycle import Life

FRESH_SECONDS = 2.0
PATIENCE_SECONDS = 0.4


class Dependency:
    """One dependency. `probe` raises when it is not there; without one its state is what `tell` was last told, and unknown before."""

    def __init__(self, name: str, probe: Callable[[], Awaitable[None]] | None = None) -> None:
        self.name = name
        self.connected: bool | None = None
        self._probe = probe
        self._checked = -FRESH_SECONDS
        self._check: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """What is known of it, without asking."""
        return "unknown" if self.connected is None else "connected" if self.connected else "disconnected"

    async def is_connected(self) -> bool:
        """Whether it was there when last asked, at most two seconds ago."""
        probe = self._probe
        if probe is not None and self._check is None and time.monotonic() - self._checked >= FRESH_SECONDS:
            self._check = asyncio.create_task(self._run(probe), name=f"check-{self.name}")
            self._check.add_done_callback(self._done)
        if self._check is not None:
            try:
                await asyncio.wait_for(asyncio.shield(self._check), PATIENCE_SECONDS)
            except TimeoutError:
                self.tell(connected=False, reason="timeout")
        return bool(self.connected)

    def tell(self, connected: bool, reason: str) -> None:  # noqa: FBT001 - one of two states, said where it is called
        """Take the word of whoever uses it for how it is; a change is an event."""
        self._checked = time.monotonic()
        if connected != self.connected:
            changed = self.connected is not None or not connected
            self.connected = connected
            if changed:
                tell_of_state(self.name, connected=connected, reason=reason)

    async def _run(self, probe: Callable[[], Awaitable[None]]) -> None:
        try:
            await probe()
        except Exception as error:
            self.tell(connected=False, reason=type(error).__name__)
        else:
            self.tell(connected=True, reason="")

    def _done(self, _: "asyncio.Task[None]") -> None:
        self._check = None


class Health:
    """The server's own account of itself.

    `others` are dependencies without which it still serves, and `upstreams` say how they are when asked: their state is told and decides
    nothing.
    """

    def __init__(
        self,
        database: Dependency,
        events: EventLog,
        life: Life,
        others: Sequence[Dependency] = (),
        upstreams: Mapping[str, Callable[[], State]] = MappingProxyType({}),
    ) -> None:
        self._life = life
        self._database = database
        self._others = others
        self._events = events
        self._upstreams = upstreams

    @property
    def uptime_seconds(self) -> int:
        """Whole seconds since the start."""
        return self._life.uptime_seconds

    async def database_connected(self) -> bool:
        """Whether the database answers."""
        return await self._database.is_connected()

    async def look(self) -> bool:
        """Ask every dependency, all at once; whether the database answers."""
        if not self._others:
            return await self._database.is_connected()
        dependencies = (self._database, *self._others)
        connected, *_ = await asyncio.gather(*(dependency.is_connected() for dependency in dependencies))
        return connected

    def dependencies(self) -> Mapping[str, State]:
        """The last known state of each dependency."""
        return {self._database.name: self._database.state, **self.others()}

    def others(self) -> Mapping[str, State]:
        """The same, without the database."""
        states = {dependency.name: dependency.state for dependency in self._others}
        return states | {name: state() for name, state in self._upstreams.items()}

    async def obstacles(self) -> list[str]:
        """Why no traffic should come here now; empty when it should."""
        found: list[str] = [] if self._life.phase == "serving" else [self._life.phase]
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
    """What `/health` says; `dependencies` are those beside the database, where there are any."""

    status: Literal["ok", "degraded"]
    database: Literal["connected", "disconnected"]
    uptime_seconds: int
    dependencies: dict[str, State] | None = None


class Alive(BaseModel):
    """What `/health/live` says."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """What `/health/ready` says; `reasons` is empty when it is ready."""

    status: Literal["ready", "unavailable"]
    reasons: list[str]


async def health(request: web.Request) -> web.StreamResponse:
    """`ok` (200) or `degraded` (500), the database's state, the uptime in seconds, and what else it depends on, if anything."""
    state = request.app[HEALTH]
    connected = await state.look()
    report = Report(
        status="ok" if connected else "degraded",
        database="connected" if connected else "disconnected",
        uptime_seconds=state.uptime_seconds,
        dependencies=dict(others) if (others := state.others()) else None,
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
