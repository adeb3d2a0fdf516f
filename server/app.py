"""The composition root: the only place that knows every part, and in which order they start and stop.

    settings → event log → store → services → application → connections → mail

Everybody else is handed what they use. Starting opens them in this order; stopping closes the door first, finishes what is in
flight, requests and then letters, drains the log, and closes the store last.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

from pipeline import bridge
from pipeline.catalogue import LEVELS, Event, Field, declare
from pipeline.context import ContextExecutor
from pipeline.eventlog import EventLog
from pipeline.heartbeat import LoopLag, beat
from pipeline.keeping.retention import Limits as Retention
from pipeline.log import log
from pipeline.reading.reader import Start
from pipeline.writing.stream import Rotation

from . import routes
from .accounts import letter
from .accounts.handlers import SESSIONS, SIGN_UP
from .accounts.oauth.flow import ProviderSignIn
from .accounts.oauth.handlers import PROVIDER_SIGN_IN
from .accounts.oauth.upstream import Upstream
from .accounts.sessions import Sessions
from .accounts.signup import SignUp
from .accounts.tokens import Digester
from .bodies import BODY_SECONDS
from .chat.answer import Answerer
from .chat.budget import Bounds, Budget
from .chat.extract import ExtractiveAnswerer
from .chat.generate import GenerativeAnswerer
from .chat.handlers import TURNS
from .chat.making import Making
from .chat.retrieval import FullTextRetriever
from .chat.service import Chat
from .chat.turns import Turns
from .clock import DAY, wall_clock
from .connection import Runner
from .conversations.handlers import CONVERSATIONS
from .conversations.service import Conversations
from .failures import report_exception
from .limits.keys import Keys
from .limits.memory import MemoryLimiter
from .limits.policy import VERIFICATION_MAIL
from .limits.service import Limits
from .mail import trial
from .mail.outbox import Composer, Outbox
from .middleware import (
    Addresses,
    Callers,
    Meter,
    Overload,
    around,
    checks,
    cross_origin,
    limits,
    security,
    session,
    started,
)
from .operations.health import HEALTH, Dependency, Health
from .operations.metrics import EVENTS, METER, OUTBOX, told
from .operations.model_figures import MODELS, Model
from .origins import origin_of
from .parts import (
    embedding,
    embedding_model,
    identity_providers,
    language_model,
    listening_step,
    mail_carrier,
    opening_log,
    prepare_database,
    secret_keys,
    shared_limiter,
)
from .request import Checks
from .settings import Settings, masked
from .steps import StepFailed, opening_database
from .store.engine import Store
from .tidying import tidy

if TYPE_CHECKING:
    from .chat.retrieval import Retriever
    from .dependencies import State
    from .limits.redis import RedisLimiter
    from .upstream.embeddings import Embeddings
    from .upstream.llm import LLM

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
            "mail_not_configured",
            "WARNING",
            "No mail can be sent: in production `SMTP_HOST` must name a mail server. Everything else works.",
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

MAIL_PART = 0.5
"""The part of a stop's remaining time in which letters that are being sent may end; the log has the rest."""

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
        self._stores: list[Store] = []
        self._shared: RedisLimiter | None = None
        self._events: EventLog | None = None
        self._runner: Runner | None = None
        self._health: Health | None = None
        self._meter: Meter | None = None
        self._making: Making | None = None
        self._outbox: Outbox | None = None
        self._llm: LLM | None = None
        self._embeddings: Embeddings | None = None
        self._models: dict[str, Model] = {}
        self._budget: Budget | None = None
        self._upstream: Upstream | None = None
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
        keys = secret_keys(settings)
        events = await self._open_log()
        with opening_database():
            if group.workers == 1:
                await prepare_database(settings)
            # One connection is for nothing but its health, which must not queue behind the questions that it is to tell of.
            store, watched = self._stores = [
                Store(settings.database_url, create=False, connections=connections)
                for connections in (settings.database_pool_size - 1, 1)
            ]
        shared = self._shared = shared_limiter(settings)
        redis = Dependency("redis", None if shared is None else shared.ping)
        mail = Dependency("mail")
        others = [*([] if shared is None else [redis]), *([mail] if settings.smtp_host else [])]
        health = self._health = Health(
            Dependency("database", watched.ping), events, group.started, others, self._open_models()
        )
        if shared is not None:
            await shared.open(redis.tell)
        elif settings.rate_limits and group.workers > 1 and self.first:
            log.warning("limits_not_shared", workers=group.workers)
        digester = Digester(keys)
        composers: dict[str, Composer] = {
            trial.KIND: trial.composer(lambda: self.url),
            letter.KIND: letter.composer(store, digester, wall_clock, lambda: self.url),
        }
        outbox = self._outbox = Outbox(store, mail_carrier(settings), composers, reached=mail.tell)
        lag = LoopLag()
        meter = self._meter = Meter(lag)
        overload = Overload.of_questions(lag, settings.chat_inflight)
        self._background = [
            asyncio.create_task(lag.watch(), name="loop-lag"),
            asyncio.create_task(beat(events, lag, lambda: _vitals(meter, health, outbox)), name="heartbeat"),
            asyncio.create_task(_publish(events, meter, overload, self._models.values()), name="publish"),
        ]

        addresses = Addresses(settings.trusted_proxies, keys[0])
        sessions = Sessions(store, digester, wall_clock)
        origins = embedding(settings)

        def embeds(origin: str) -> bool:
            return origin == origin_of(self.url) or origins.permit(origin)

        counting, callers = Limits(MemoryLimiter(), shared, enforced=settings.rate_limits), Keys(keys[0])
        checked = checks(
            security(addresses, https_only=settings.production),
            cross_origin(origins),
            session(sessions.find),
            guards=(overload.guard, limits(counting, Callers(callers, settings.shared_networks))),
        )
        app = self._application(checked)
        app[HEALTH] = health
        app[EVENTS] = events
        app[METER] = meter
        app[MODELS] = self._models
        app[OUTBOX] = outbox
        app[SESSIONS] = sessions
        await self._add_people(
            app, store, digester, embeds, lambda of: counting.spend(VERIFICATION_MAIL, callers.email(of))
        )
        self._add_chat(app, store, sessions)
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
        # Last: a letter may hold a link to us.
        self._background.append(asyncio.create_task(outbox.run(), name="mail"))
        return runner

    async def _open_log(self) -> EventLog:
        settings, group = self.settings, self._group
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
                limits=Retention(settings.log_retention_seconds, settings.log_disk_budget_bytes),
            ).open()
        bridge.take_over_logging(LEVELS[settings.log_level])
        logging.getLogger("alembic").setLevel(logging.WARNING)  # `database_migrated` says it in one line
        dead = events.predecessor
        replaces = dead is not None and dead.run == group.run
        self.first = events.worker == 1 and not replaces
        if dead is not None and replaces:
            log.warning("worker_died", worker=events.worker, pid=dead.pid, of_boot=dead.boot)
        return events

    def _open_models(self) -> "dict[str, Callable[[], State]]":
        """The models that are asked, and what says how each is."""
        self._llm, self._embeddings = language_model(self.settings), embedding_model(self.settings)
        models = {"llm": self._llm, "embeddings": self._embeddings}
        self._models = {kind: model for kind, model in models.items() if model is not None}
        return {kind: partial(getattr, model, "state") for kind, model in self._models.items()}

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
        if self._outbox is not None and not self._outbox.available and self.first:
            log.warning("mail_not_configured")

    async def stop(self, reason: str) -> bool:
        """Close the door, finish requests and letters in flight, drain the log, close the store. False when the log was not drained."""
        self._reason = reason
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.shutdown_seconds
        if self._runner is not None and self._runner.server is not None:
            await self._runner.cleanup()
        if self._making is not None:
            await self._making.close()
        if self._outbox is not None:
            await self._outbox.stop(max(0.5, (deadline - loop.time()) * MAIL_PART))
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._shared is not None:
            await self._shared.close()
        if self._upstream is not None:
            await self._upstream.close()
        # Half of what is left is the log's.
        await self._let_the_models_go(max(1.0, (deadline - loop.time()) / 2))
        if self._health is not None and self._health.phase == "draining":
            log.info("server_stopped", uptime_seconds=self._health.uptime_seconds)
        drained = True
        if self._events is not None:
            drained = await self._events.close(max(1.0, deadline - loop.time()))
        for store in self._stores:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(store.close(), max(1.0, deadline - loop.time()))
        return drained

    async def _let_the_models_go(self, seconds: float) -> None:
        """Close their connections, write what was paid for, and tell the last figures."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for model in (self._llm, self._embeddings):
                    if model is not None:
                        await model.close()
                if self._budget is not None:
                    await self._budget.close()
        if self._events is not None and self._meter is not None:
            self._events.publish(**told(self._meter, self._models.values()))

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

    async def _add_people(
        self,
        app: web.Application,
        store: Store,
        digester: Digester,
        embeds: Callable[[str], bool],
        spend: Callable[[str], Awaitable[None]],
    ) -> None:
        """Signing up and in, by mail and with identity providers."""
        upstream = self._upstream = Upstream(plain=not self.settings.production)
        provider_sign_in = app[PROVIDER_SIGN_IN] = ProviderSignIn(
            store=store,
            digester=digester,
            sessions=app[SESSIONS],
            providers=identity_providers(self.settings, upstream),
            clock=wall_clock,
            site=lambda: self.url,
            embeds=embeds,
        )
        await provider_sign_in.prepare()
        app[SIGN_UP] = SignUp(
            store=store,
            digester=digester,
            sessions=app[SESSIONS],
            outbox=app[OUTBOX],
            clock=wall_clock,
            embeds=embeds,
            spend=spend,
        )

    def _add_chat(self, app: web.Application, store: Store, sessions: Sessions) -> None:
        """Answers, turns and conversations."""
        fulltext = FullTextRetriever(store)
        chat = Chat(self._retriever(store, fulltext), self._answerer(store))
        making = self._making = Making(
            store=store,
            chat=chat,
            clock=wall_clock,
            report=report_exception,
            alone_seconds=self.settings.chat_alone_seconds,
        )
        app[TURNS] = Turns(store=store, makes=making, sessions=sessions, clock=wall_clock, model=chat.model)
        self._background.append(asyncio.create_task(making.run(), name="making"))
        kept = app[CONVERSATIONS] = Conversations(store, fulltext, wall_clock)
        retention_ms = int(self.settings.conversation_retention_days * DAY)
        jobs = (sessions.forget, app[PROVIDER_SIGN_IN].forget, lambda: kept.forget(retention_ms))
        self._background.append(asyncio.create_task(tidy(jobs), name="tidy"))

    def _application(self, checked: Checks) -> web.Application:
        """The application with its routes; what its handlers use is put into it by who made that."""
        app = web.Application(client_max_size=self.settings.request_max_bytes)
        routes.install(app, checked, test_mode=self.settings.integration_test_mode)
        app.on_response_prepare.append(started)
        app.on_shutdown.append(self._finish_requests)
        app[BODY_SECONDS] = self.settings.request_body_seconds
        return app

    def _retriever(self, store: Store, fulltext: FullTextRetriever) -> "Retriever":
        """What finds passages: their words, and where a model embeds what they mean, too."""
        if self._embeddings is None:
            return fulltext
        from .chat.hybrid import HybridRetriever
        from .chat.vectors import Vectors

        vectors = Vectors(store, self._embeddings.model.name, report=report_exception, tells=self.first)
        self._background.append(asyncio.create_task(vectors.watch(), name="vectors"))
        return HybridRetriever(fulltext, self._embeddings, vectors, self.settings.embedding_similarity)

    def _answerer(self, store: Store) -> Answerer:
        """Who writes the answers: the language model, or without one the documents themselves."""
        if self._llm is None:
            return ExtractiveAnswerer()
        bounds = Bounds(self.settings.llm_daily_tokens, self.settings.llm_conversation_tokens)
        self._budget = Budget(store, bounds)
        return GenerativeAnswerer(self._llm, self._budget)


async def _publish(events: EventLog, meter: Meter, overload: Overload, models: Iterable[Model]) -> None:
    """Each second: let the other workers know how this one is, so that any of them can answer for all; and see whether it is calm."""
    while True:
        events.publish(**told(meter, models))
        overload.look()
        await asyncio.sleep(1)


async def _vitals(meter: Meter, health: Health, outbox: Outbox) -> dict[str, Any]:
    """What only the server knows of how it is; asking also notices what has gone when nobody else asks."""
    await health.look()
    return {
        "inflight": meter.inflight,
        "mail_waiting": outbox.waiting,
        "mail_oldest_seconds": round(outbox.oldest_seconds, 1),
        "dependencies": health.dependencies(),
    }


def _listening(runner: Runner) -> str:
    """The address that was bound; its port may have been any free one."""
    host, port = runner.addresses[0][:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
