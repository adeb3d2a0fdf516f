"""Counts in Redis or Valkey, for all workers of all machines together; and what is done while it is away.

The scripts are those of the library `limits`, and run whole inside Redis, so no two workers can both take the last place. All limits of a
request are asked together: one round trip to look, so that what is refused counts nowhere, and one to count.

It never holds a request up for long: a quarter of a second at the worst, and only those that are under way when it goes. From then on
nobody asks it but one task, each second, and whoever would have is told `LimiterUnavailable` at once.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol, cast

from pipeline.context import measure
from pipeline.log import log

from .keys import Key
from .limiter import Decision, standing
from .policy import Policy, Rate

PREFIX = "chatkit"
CONNECTIONS = 8
"""How many there may be at most, for each worker; who finds none free waits for one. To open one takes longer than to ask."""
CONNECT_SECONDS = 0.2
PATIENCE_SECONDS = 0.25
"""How long all that one request asks may take."""
RETURN_SECONDS = 1.0
"""How often it is looked for while it is away."""
SLOW_MS = 100.0
QUIET_SECONDS = 10.0
"""How long after an event that tells of slowness there is no other."""


class _Asked(NamedTuple):
    """One limit that is asked, and the name of its list in Redis, such as `chatkit:chat/address-…/10/60`."""

    key: Key
    rate: Rate
    name: str


class LimiterUnavailable(Exception):
    """The counts cannot be reached; nothing was counted, or nobody knows."""


class Tell(Protocol):
    """Takes word of whether Redis is there, and the reason if it is not."""

    def __call__(self, *, connected: bool, reason: str) -> None:
        """It is, or is not."""


class RedisLimiter:
    """Counts in the Redis at `url` (redis://, rediss://, valkey://, valkeys://, unix://). `open` it once, and `close` it.

    Raises ``ImportError`` without the packages for it, ``TypeError`` and ``ValueError`` for an address with options that there are not.
    """

    def __init__(self, url: str) -> None:
        from limits.aio.storage.redis.bridge import RedisBridge
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.exceptions import TimeoutError as RedisTimeout

        # A retry of the library's would make the request wait that is not to wait.
        self._pool = BlockingConnectionPool.from_url(
            as_redis(url),
            max_connections=CONNECTIONS,
            timeout=PATIENCE_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
            # The older protocol, and no word of which library it is: fewer round trips until a connection can be used.
            protocol=2,
            driver_info=None,
            client_name=PREFIX,
        )
        # An option that none takes is found out here, and not by a request.
        self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._redis: Any = Redis(connection_pool=self._pool)
        self._look = RedisBridge.SCRIPT_MOVING_WINDOW
        self._count = RedisBridge.SCRIPT_ACQUIRE_MOVING_WINDOW
        self._failures = (RedisError, OSError)
        self._timeouts = (TimeoutError, RedisTimeout)
        self._tell: Tell = _nobody
        self._quiet_until = 0.0
        self._returning: asyncio.Task[None] | None = None

    async def open(self, tell: Tell) -> None:
        """Look whether it is there, and if not, go on looking; from now on `tell` whenever that changes."""
        self._tell = tell
        try:
            await self.ping()
        except LimiterUnavailable:
            return
        tell(connected=True, reason="")

    async def close(self) -> None:
        """Stop looking, and let every connection go."""
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.gather(self._returning, return_exceptions=True)
        await self._pool.aclose()

    async def hit(self, policy: Policy, *keys: Key) -> Decision:
        """As `server.limits.limiter.Limiter` says. Raises ``LimiterUnavailable``."""
        return cast("Decision", await self._asking("limit", lambda: self._hit(policy, keys)))

    async def ping(self) -> None:
        """Raises ``LimiterUnavailable`` when it does not answer."""
        await self._asking("ping", self._redis.ping)

    async def _hit(self, policy: Policy, keys: Sequence[Key]) -> Decision:
        asked = [_Asked(key, rate, _name(policy, key, rate)) for key in keys for rate in policy.rates]
        before = await self._standing(policy, asked)
        if not before.allowed:
            return before
        # As one transaction: of two that want the same last places, one gets them all.
        now = time.time()
        async with self._redis.pipeline(transaction=True) as commands:
            for key, rate, name in asked:
                commands.eval(self._count, 1, name, now, rate.amount * key.times, rate.seconds, 1)
            counted = await commands.execute()
        if all(counted):
            return before
        # Somebody was faster: what is full now says for how long. Where there was room, it was counted all the same.
        return (await self._standing(policy, asked))._replace(allowed=False, remaining=0)

    async def _standing(self, policy: Policy, asked: Sequence[_Asked]) -> Decision:
        now = time.time()
        async with self._redis.pipeline(transaction=False) as commands:
            for key, rate, name in asked:
                commands.eval(self._look, 1, name, now - rate.seconds, rate.amount * key.times)
            found = await commands.execute()
        standings = []
        for (key, rate, _), window in zip(asked, found, strict=True):
            oldest, before = (float(window[0]), int(window[1])) if window else (now, 0)
            standings.append(standing(policy, key, rate, before, oldest + rate.seconds - now))
        return Decision.tightest(standings)

    async def _asking(self, operation: str, ask: Callable[[], Any]) -> object:
        """What `ask` gives, in time. Raises ``LimiterUnavailable``."""
        if self._returning is not None:
            raise LimiterUnavailable
        began = perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await ask()
        except self._failures as error:
            self._lost(operation, error, (perf_counter() - began) * 1000)
            raise LimiterUnavailable from error
        finally:
            self._took(operation, (perf_counter() - began) * 1000)

    def _took(self, operation: str, duration_ms: float) -> None:
        measure(limit_ms=duration_ms)
        if duration_ms > SLOW_MS and self._returning is None and perf_counter() > self._quiet_until:
            self._quiet_until = perf_counter() + QUIET_SECONDS
            _say(operation, duration_ms, "slow", None)

    def _lost(self, operation: str, error: BaseException, duration_ms: float) -> None:
        """It went away: told once, however many were asking."""
        if self._returning is not None:
            return
        timed_out = isinstance(error, self._timeouts)
        reason = "timeout" if timed_out else type(error.__cause__ or error).__name__
        _say(operation, duration_ms, "failed", reason)
        self._tell(connected=False, reason=reason)
        self._returning = asyncio.create_task(self._look_for_it(), name="redis-returns")

    async def _look_for_it(self) -> None:
        """Ask each second until it is there again."""
        while True:
            await asyncio.sleep(RETURN_SECONDS)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._redis.ping()
            except Exception:  # noqa: S112 - whatever it is: if this task ended, nobody would look any more
                continue
            self._returning = None
            self._tell(connected=True, reason="")
            return


def _nobody(*, connected: bool, reason: str) -> None:
    """Nobody is to be told."""


def as_redis(url: str) -> str:
    """`url` as the client knows it: Valkey speaks the same protocol under another name."""
    return f"redis{url.removeprefix('valkey')}" if url.startswith("valkey") else url


def _name(policy: Policy, key: Key, rate: Rate) -> str:
    return f"{PREFIX}:{policy.name}/{key.kind}-{key.digest}/{rate.amount * key.times}/{rate.seconds}"


def _say(operation: str, duration_ms: float, outcome: str, status: str | None) -> None:
    log.warning(
        "dependency_call",
        dependency="redis",
        operation=operation,
        duration_ms=round(duration_ms, 3),
        outcome=outcome,
        status=status,
    )
