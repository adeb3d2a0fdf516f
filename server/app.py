"""The composition root: the only place that knows every part, and in which order they are opened.

    settings → event log → store → services → application → connections → mail

Everybody else is handed what they use. What is opened says there how it is closed: a stop closes the door first, finishes what is in
flight, requests and then letters, closes the store and drains the log (see `closing`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pipeline import bridge
from pipeline.catalogue import LEVELS
from pipeline.context import ContextExecutor
from pipeline.eventlog import EventLog
from pipeline.heartbeat import LoopLag, beat
from pipeline.keeping.retention import Limits as Retention
from pipeline.log import log
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
from .closing import Closing
from .connection import Runner
from .conversations.handlers import CONVERSATIONS
from .conversations.service import Conversations
from .failures import report_exception
from .lifecycle import Group, Life
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
    from .limits.redis import RedisLimiter
    from .upstream.embeddings import Embeddings
    from .upstream.llm import LLM

BACKLOG = 1024
CANCEL_SECONDS = 0.1
"""How long a request that outlived the deadline has to notice that it is cancelled."""

FINISH_PART = 0.6
"""The part of a stop's time in which requests in flight may end by themselves."""

REST_PART = 0.5
"""The part of what is left then for each of letters, models and connections to the database; the log has all that they leave."""

LOG_SECONDS = 1.0
"""So long the log may take in any case."""

LINGER_SECONDS = 2.0
"""How long a refused body is still read, so that its sender gets to see the refusal before the connection closes."""


class Server:
    """All parts of one running server, or of one worker of it; `open` and `stop` are each called once.

    `listening` is the address on which a worker's parent listens; without one it listens by itself.
    """

    def __init__(self, settings: Settings, group: Group, listening: str = "") -> None:
        self.settings = settings
        self.url = self.listening = listening
        self.life = Life(group)
        self._group = group
        self._meter = Meter(LoopLag())
        self._closing = Closing(settings.shutdown_seconds, report_exception)
        self._background: list[asyncio.Task[None]] = []
        self._reason = ""
        self._logs = False
        self._drained = True

    async def open(self) -> Runner:
        """Open everything, and listen if nobody does that for us.

        Raises ``StepFailed``; what was opened by then is closed again.
        """
        try:
            return await self._open()
        except BaseException as error:
            if self._logs:
                failed = error if isinstance(error, StepFailed) else StepFailed.unforeseen(error)
                failed.tell(log)
            await self.stop("failed start")
            raise

    async def stop(self, reason: str) -> bool:
        """Close everything, what was opened last first. False when the log was not drained."""
        self._reason = reason
        await self._closing.close()
        return self._drained

    async def _open(self) -> Runner:
        settings, closing = self.settings, self._closing
        asyncio.get_running_loop().set_default_executor(ContextExecutor(thread_name_prefix="worker"))
        keys = secret_keys(settings)
        events = await self._open_log()
        store, watched = await self._open_store()
        llm, embeddings = language_model(settings), embedding_model(settings)
        models = self._watch_models(events, {"llm": llm, "embeddings": embeddings})
        redis, shared = await self._open_limiter()
        mail = Dependency("mail")
        health = Health(
            Dependency("database", watched.ping),
            events,
            self.life,
            [*([redis] if redis else []), *([mail] if settings.smtp_host else [])],
            {kind: partial(getattr, model, "state") for kind, model in models.items()},
        )
        overload = Overload.of_questions(self._meter.lag, settings.chat_inflight)
        digester = Digester(keys)
        composers: dict[str, Composer] = {
            trial.KIND: trial.composer(lambda: self.url),
            letter.KIND: letter.composer(store, digester, wall_clock, lambda: self.url),
        }
        outbox = Outbox(store, mail_carrier(settings), composers, reached=mail.tell)
        closing.then(self._end_background)
        self._run(self._meter.lag.watch(), "loop-lag")
        self._run(beat(events, self._meter.lag, lambda: _vitals(self._meter, health, outbox)), "heartbeat")
        self._run(_publish(events, self._meter, overload, models.values()), "publish")
        closing.then(lambda: outbox.stop(closing.left(REST_PART)))

        addresses = Addresses(settings.trusted_proxies, keys[0])
        sessions = Sessions(store, digester, wall_clock)
        origins = embedding(settings)
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
        app[METER] = self._meter
        app[MODELS] = models
        app[OUTBOX] = outbox
        app[SESSIONS] = sessions
        await self._add_people(
            app,
            store,
            digester,
            lambda origin: origin == origin_of(self.url) or origins.permit(origin),
            lambda address: counting.spend(VERIFICATION_MAIL, callers.email(address)),
        )
        self._add_chat(app, store, llm, embeddings)
        runner = await self._listen(app, addresses)
        await health.database_connected()
        self.life.serve(
            self.url, self.listening, settings.environment, masked(settings), settings.fingerprint
        )
        if self.life.first and not outbox.available:
            log.warning("mail_not_configured")
        # Last: a letter may hold a link to us.
        self._run(outbox.run(), "mail")
        return runner

    # What everything else stands on.

    async def _open_log(self) -> EventLog:
        settings, group = self.settings, self._group
        with opening_log(settings):
            events = await EventLog(
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
        self._logs = True

        async def drain() -> None:
            self._drained = await events.close(self._closing.left(least=LOG_SECONDS))

        self._closing.then(drain)
        self._closing.then(self.life.end)
        bridge.take_over_logging(LEVELS[settings.log_level])
        logging.getLogger("alembic").setLevel(logging.WARNING)  # `database_migrated` says it in one line
        self.life.begin(events)
        return events

    async def _open_store(self) -> tuple[Store, Store]:
        """The database, and one connection for nothing but its health, which must not queue behind the questions that it is to tell of."""
        settings = self.settings
        with opening_database():
            if self._group.workers == 1:
                await prepare_database(settings)
            stores = [
                Store(settings.database_url, create=False, connections=connections)
                for connections in (settings.database_pool_size - 1, 1)
            ]
        for opened in stores:
            self._closing.then(opened.close, REST_PART)
        store, watched = stores
        return store, watched

    def _watch_models(
        self, events: EventLog, models: "dict[str, LLM | Embeddings | None]"
    ) -> dict[str, Model]:
        """Those that are set, by their kind; their last figures are told when they are let go."""
        asked = {kind: model for kind, model in models.items() if model is not None}
        self._closing.then(lambda: events.publish(**told(self._meter, asked.values())))
        for model in asked.values():
            self._closing.then(model.close, REST_PART)
        return dict(asked)

    async def _open_limiter(self) -> "tuple[Dependency | None, RedisLimiter | None]":
        """What counts for all workers, and how it is."""
        settings = self.settings
        shared = shared_limiter(settings)
        if shared is None:
            if settings.rate_limits and self._group.workers > 1 and self.life.first:
                log.warning("limits_not_shared", workers=self._group.workers)
            return None, None
        redis = Dependency("redis", shared.ping)
        self._closing.then(shared.close)
        await shared.open(redis.tell)
        return redis, shared

    # What visitors use.

    def _application(self, checked: Checks) -> web.Application:
        """The application with its routes; what its handlers use is put into it by who made that."""
        app = web.Application(client_max_size=self.settings.request_max_bytes)
        routes.install(app, checked, test_mode=self.settings.integration_test_mode)
        app.on_response_prepare.append(started)
        app.on_shutdown.append(self._finish_requests)
        app[BODY_SECONDS] = self.settings.request_body_seconds
        return app

    async def _add_people(
        self,
        app: web.Application,
        store: Store,
        digester: Digester,
        embeds: Callable[[str], bool],
        spend: Callable[[str], Awaitable[None]],
    ) -> None:
        """Signing up and in, by mail and with identity providers."""
        upstream = Upstream(plain=not self.settings.production)
        self._closing.then(upstream.close)
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

    def _add_chat(
        self, app: web.Application, store: Store, llm: "LLM | None", embeddings: "Embeddings | None"
    ) -> None:
        """Answers, turns and conversations."""
        sessions, fulltext = app[SESSIONS], FullTextRetriever(store)
        chat = Chat(self._retriever(store, fulltext, embeddings), self._answerer(store, llm))
        making = Making(
            store=store,
            chat=chat,
            clock=wall_clock,
            report=report_exception,
            alone_seconds=self.settings.chat_alone_seconds,
        )
        self._closing.then(making.close)
        self._run(making.run(), "making")
        app[TURNS] = Turns(store=store, makes=making, sessions=sessions, clock=wall_clock, model=chat.model)
        kept = app[CONVERSATIONS] = Conversations(store, fulltext, wall_clock)
        retention_ms = int(self.settings.conversation_retention_days * DAY)
        jobs = (sessions.forget, app[PROVIDER_SIGN_IN].forget, lambda: kept.forget(retention_ms))
        self._run(tidy(jobs), "tidy")

    def _retriever(
        self, store: Store, fulltext: FullTextRetriever, embeddings: "Embeddings | None"
    ) -> "Retriever":
        """What finds passages: their words, and where a model embeds what they mean, too."""
        if embeddings is None:
            return fulltext
        from .chat.hybrid import HybridRetriever
        from .chat.vectors import Vectors

        vectors = Vectors(store, embeddings.model.name, report=report_exception, tells=self.life.first)
        self._run(vectors.watch(), "vectors")
        return HybridRetriever(fulltext, embeddings, vectors, self.settings.embedding_similarity)

    def _answerer(self, store: Store, llm: "LLM | None") -> Answerer:
        """Who writes the answers: the language model, or without one the documents themselves."""
        if llm is None:
            return ExtractiveAnswerer()
        bounds = Bounds(self.settings.llm_daily_tokens, self.settings.llm_conversation_tokens)
        budget = Budget(store, bounds)
        self._closing.then(budget.close, REST_PART)
        return GenerativeAnswerer(llm, budget)

    # The door.

    async def _listen(self, app: web.Application, addresses: Addresses) -> Runner:
        settings = self.settings
        runner = Runner(
            app,
            addresses,
            around(self._meter),
            keepalive_timeout=settings.keepalive_seconds,
            lingering_time=LINGER_SECONDS,
            shutdown_timeout=CANCEL_SECONDS,
        )
        await runner.setup()
        # Whoever holds the socket for us has closed the door by then.
        self._closing.then(lambda: runner.cleanup() if runner.server is not None else None)
        if not self.listening:
            with listening_step(settings):
                site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG, reuse_address=True)
                await site.start()
            self.listening = _listening(runner)
        self.url = settings.base_url or self.listening
        return runner

    async def _finish_requests(self, _: web.Application) -> None:
        """The door is closed: let what is in flight end by itself in good time; what does not is cancelled."""
        if self.life.phase != "serving":
            return
        self._closing.begin()
        self.life.drain(self._meter.inflight, self._reason or "SIGTERM")
        loop = asyncio.get_running_loop()
        until = loop.time() + self.settings.shutdown_seconds * FINISH_PART
        while self._meter.inflight and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    # What goes on beside the requests.

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do it from now on, until the stop."""
        self._background.append(asyncio.create_task(work, name=name))

    async def _end_background(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)


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
