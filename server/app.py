"""The composition root: the only place that knows every part, and in which order they start and stop.

    settings → event log → store → services → application → connections

Everybody else is handed what they use. Starting opens them in this order; stopping closes the door first, finishes what is in
flight, drains the log, and closes the store last.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

from pipeline import bridge
from pipeline.catalogue import LEVELS, Event, Field, declare
from pipeline.context import ContextExecutor
from pipeline.eventlog import EventLog
from pipeline.heartbeat import LoopLag, beat
from pipeline.keeping.retention import Limits
from pipeline.log import log
from pipeline.reading.reader import Start
from pipeline.segments import FolderInUse
from pipeline.writing.stream import Rotation

from . import routes
from .bodies import BODY_SECONDS
from .chat.answer import Answerer
from .chat.budget import Bounds, Budget
from .chat.extract import ExtractiveAnswerer
from .chat.generate import GenerativeAnswerer
from .chat.handlers import CHAT
from .chat.retrieval import SQLiteRetriever
from .chat.service import Chat
from .connection import Runner
from .middleware import Addresses, Meter, around, checks, cross_origin, security, started
from .operations.health import HEALTH, Dependency, Health
from .operations.metrics import EVENTS, METER, MODEL, told
from .settings import Settings, masked
from .steps import StepFailed, opening_database, step
from .store import migrate
from .store.engine import Store
from .upstream.breaker import Tolerance
from .upstream.endpoint import Model
from .upstream.llm import LLM
from .upstream.patience import Patience

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


BACKLOG = 1024
CANCEL_SECONDS = 0.1
"""How long a request that outlived the deadline has to notice that it is cancelled."""

LINGER_SECONDS = 2.0
"""How long a refused body is still read, so that its sender gets to see the refusal before the connection closes."""


class Group(NamedTuple):
    """What the workers of one server have in common: the run's name, how many they are, and what came before.

    `started` is when the first of them began, in seconds of the monotonic clock, which all processes of a machine share.
    """

    run: str
    workers: int
    previous: Start | None
    started: float


class Server:
    """All parts of one running server, or of one worker of it; `open` and `stop` are each called once.

    `listening` is the address on which a worker's parent listens; without one it listens by itself.
    """

    def __init__(self, settings: Settings, group: Group, listening: str = "") -> None:
        self.settings = settings
        self.url = self.listening = listening
        self._group = group
        self._store: Store | None = None
        self._events: EventLog | None = None
        self._runner: Runner | None = None
        self._health: Health | None = None
        self._meter: Meter | None = None
        self._llm: LLM | None = None
        self._budget: Budget | None = None
        self._background: list[asyncio.Task[None]] = []
        self._reason = "SIGTERM"
        self.first = False
        """Whether this is the first worker of a run, and no one that replaces another."""

    async def open(self) -> Runner:
        """Open everything, and listen if nobody does that for us.

        Raises ``StepFailed``; what was opened by then is closed again.
        """
        try:
            return await self._open()
        except BaseException as error:
            if self._events is not None:
                failed = error if isinstance(error, StepFailed) else StepFailed.unforeseen(error)
                failed.tell(log)
            await self.stop("failed start")
            raise

    async def _open(self) -> Runner:
        settings, group = self.settings, self._group
        asyncio.get_running_loop().set_default_executor(ContextExecutor(thread_name_prefix="worker"))
        key = signing_key(settings)
        with opening_log(settings):
            events = self._events = await EventLog(
                settings.log_dir,
                level=settings.log_level,
                ring_bytes=settings.log_ring_bytes,
                linger_seconds=settings.log_linger_ms / 1000,
                rotation=Rotation(settings.log_segment_bytes, settings.log_segment_seconds),
                state=settings.log_ring_dir or settings.state_dir,
                workers=group.workers,
                run=group.run,
                archive_after_seconds=settings.log_archive_after_seconds,
                limits=Limits(settings.log_retention_seconds, settings.log_disk_budget_bytes),
            ).open()
        bridge.take_over_logging(LEVELS[settings.log_level])
        logging.getLogger("alembic").setLevel(logging.WARNING)  # `database_migrated` says it in one line
        dead = events.predecessor
        replaces = dead is not None and dead.run == group.run
        self.first = events.worker == 1 and not replaces
        if dead is not None and replaces:
            log.warning("worker_died", worker=events.worker, pid=dead.pid, of_boot=dead.boot)

        with opening_database():
            if group.workers == 1:
                await prepare_database(settings)
            store = self._store = Store(settings.database_url, create=False)
        llm = self._llm = language_model(settings)
        upstreams = {"llm": lambda: llm.state} if llm is not None else {}
        health = self._health = Health(Dependency("database", store.ping), events, group.started, upstreams)
        lag = LoopLag()
        meter = self._meter = Meter(lag)
        self._background = [
            asyncio.create_task(lag.watch(), name="loop-lag"),
            asyncio.create_task(beat(events, lag, lambda: _vitals(meter, health)), name="heartbeat"),
            asyncio.create_task(_publish(events, meter, llm), name="publish"),
        ]

        addresses = Addresses(settings.trusted_proxies, key)
        app = self._application(events, store, health, meter, addresses)
        runner = self._runner = Runner(
            app,
            addresses,
            around(meter),
            keepalive_timeout=settings.keepalive_seconds,
            lingering_time=LINGER_SECONDS,
            shutdown_timeout=CANCEL_SECONDS,
        )
        await runner.setup()
        if not self.listening:
            await self._listen(runner)
        self.url = settings.base_url or self.listening
        health.phase = "serving"
        await health.database_connected()
        self._say_started(events)
        return runner

    async def _listen(self, runner: Runner) -> None:
        settings = self.settings
        with listening_step(settings):
            site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG, reuse_address=True)
            await site.start()
        self.listening = _listening(runner)

    def _say_started(self, events: EventLog) -> None:
        settings, previous = self.settings, self._group.previous
        if previous is not None and previous.config != settings.fingerprint and self.first:
            log.info("config_changed", previous=previous.config, current=settings.fingerprint)
        log.info(
            "server_started",
            url=self.url,
            listening=self.listening,
            environment=settings.environment,
            worker=events.worker,
            workers=self._group.workers,
            settings=masked(settings),
            previous_boot=previous.boot if previous is not None else None,
            previous_boot_crashed=previous is not None and not previous.stopped,
        )

    async def stop(self, reason: str) -> bool:
        """Close the door, finish what is in flight, drain the log, close the store. False when the log was not drained."""
        self._reason = reason
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.shutdown_seconds
        if self._runner is not None and self._runner.server is not None:
            await self._runner.cleanup()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        # Half of what is left is the log's.
        await self._let_the_model_go(max(1.0, (deadline - loop.time()) / 2))
        if self._health is not None and self._health.phase == "draining":
            log.info("server_stopped", uptime_seconds=self._health.uptime_seconds)
        drained = True
        if self._events is not None:
            drained = await self._events.close(max(1.0, deadline - loop.time()))
        if self._store is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._store.close(), max(1.0, deadline - loop.time()))
        return drained

    async def _let_the_model_go(self, seconds: float) -> None:
        """Close its connections, write what it was paid for, and tell the last figures."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._llm is not None:
                    await self._llm.close()
                if self._budget is not None:
                    await self._budget.close()
        if self._events is not None and self._meter is not None:
            self._events.publish(**told(self._meter, self._llm))

    async def _finish_requests(self, _: web.Application) -> None:
        """The door is closed: let what is in flight end by itself in good time; what does not is cancelled."""
        if self._health is None or self._meter is None or self._health.phase != "serving":
            return
        self._health.phase = "draining"
        log.info("server_stopping", inflight=self._meter.inflight, reason=self._reason)
        loop = asyncio.get_running_loop()
        until = loop.time() + self.settings.shutdown_seconds * 0.6
        while self._meter.inflight and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def _application(
        self, events: EventLog, store: Store, health: Health, meter: Meter, addresses: Addresses
    ) -> web.Application:
        settings = self.settings
        app = web.Application(client_max_size=settings.request_max_bytes)
        own = {_origin(settings.base_url)} if settings.base_url else set[str]()
        checked = checks(
            security(addresses, https_only=settings.production),
            cross_origin(
                frozenset({*settings.cors_origins, *own}),
                any_localhost=not settings.production and not settings.cors_origins,
            ),
        )
        routes.install(app, checked, test_mode=settings.integration_test_mode)
        app.on_response_prepare.append(started)
        app[BODY_SECONDS] = settings.request_body_seconds
        app[HEALTH] = health
        app[EVENTS] = events
        app[METER] = meter
        app.on_shutdown.append(self._finish_requests)
        app[CHAT] = Chat(SQLiteRetriever(store), self._answerer(store))
        if self._llm is not None:
            app[MODEL] = self._llm
        return app

    def _answerer(self, store: Store) -> Answerer:
        """Who writes the answers: the language model, or without one the documents themselves."""
        if self._llm is None:
            return ExtractiveAnswerer()
        bounds = Bounds(self.settings.llm_daily_tokens, self.settings.llm_conversation_tokens)
        self._budget = Budget(store, bounds)
        return GenerativeAnswerer(self._llm, self._budget)


def language_model(settings: Settings) -> LLM | None:
    """The language model that the settings name, if they name one."""
    if settings.llm_base_url is None:
        return None
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else ""
    return LLM(
        Model(settings.llm_base_url, (settings.llm_model or "").strip(), key, settings.llm_max_tokens),
        Patience(
            settings.llm_connect_seconds,
            settings.llm_first_token_seconds,
            settings.llm_between_tokens_seconds,
            settings.llm_timeout_seconds,
        ),
        Tolerance(settings.llm_breaker_failures, settings.llm_breaker_seconds),
    )


def listening_step(settings: Settings) -> contextlib.AbstractContextManager[None]:
    """Within the block, what can go wrong with the address."""
    fix = f"Does another program have the port? Set PORT (now {settings.port}), or HOST."
    return step("listen", fix, OSError)


@contextlib.contextmanager
def opening_log(settings: Settings) -> Iterator[None]:
    """Within the block, what can go wrong with the log's folder."""
    with (
        step(
            "write the log",
            f"Make the folders writable and see that there is room: LOG_DIR (now {settings.log_dir}),"
            f" LOG_RING_DIR (now {settings.log_ring_dir or settings.state_dir}).",
            OSError,
        ),
        step(
            "open the log",
            f"Stop the other server, or set LOG_DIR (now {settings.log_dir}) and STATE_DIR (now {settings.state_dir}).",
            FolderInUse,
        ),
    ):
        yield


async def prepare_database(settings: Settings) -> None:
    """The database in its present shape; in production that is left to `python -m server migrate`."""
    if not await migrate.is_needed(settings.database_url):
        return
    if settings.production:
        raise StepFailed(
            "use the database", "it does not have the present shape", "Run: python -m server migrate"
        )
    await migrate.upgrade(settings.database_url)


async def _publish(events: EventLog, meter: Meter, llm: LLM | None) -> None:
    """Each second: let the other workers know how this one is, so that any of them can answer for all."""
    while True:
        events.publish(**told(meter, llm))
        await asyncio.sleep(1)


async def _vitals(meter: Meter, health: Health) -> dict[str, Any]:
    """What only the server knows of how it is; asking also notices what has gone when nobody else asks."""
    await health.database_connected()
    return {"inflight": meter.inflight, "dependencies": health.dependencies()}


def signing_key(settings: Settings) -> bytes:
    """The first of `SECRET_KEY`; in development without one, a key that is made once and kept."""
    with step(
        "keep state", f"Make the folder writable, or set STATE_DIR (now {settings.state_dir}).", OSError
    ):
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        return settings.secret_keys[0].encode() if settings.secret_keys else _kept_key(settings.state_dir)


def _kept_key(folder: Path) -> bytes:
    path = folder / "development-key"
    if not path.exists():
        # Written beside and renamed, so that there is never half a key.
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_bytes(secrets.token_urlsafe(32).encode())
        draft.rename(path)
    return path.read_bytes()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _listening(runner: Runner) -> str:
    """The address that was bound; its port may have been any free one."""
    host, port = runner.addresses[0][:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
