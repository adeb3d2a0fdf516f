"""One attempt at one letter: composed, carried, and noted how it went.

Everything it tells the log carries the ID of the request that asked for the letter. An attempt always ends, in less time than a lease.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from pipeline.context import Request, bound
from pipeline.exceptions import describe
from pipeline.log import log
from server.store import outbox as table
from server.store.engine import Store, StoreUnavailable
from server.store.outbox import Letter

from . import events  # noqa: F401 - what is emitted here is declared there
from .backoff import wait_seconds
from .carrier import Carrier, Refused, Undeliverable, Undelivered, Unreachable
from .message import Message

Composer = Callable[[Letter], Awaitable[Message | None]]
"""Writes the message of a letter, perhaps with a new token; None when nobody wants it any more."""

COMPOSE_SECONDS = 10.0
CARRY_SECONDS = 65.0
"""More than any carrier takes by itself."""
NOTE_SECONDS = 30.0
"""For so long the note of how it went is tried; a database may be locked for a moment."""
LEASE_SECONDS = 120.0
"""After so long a letter is due for others: more than an attempt takes in all, with a rest for clocks that differ between machines."""
GIVE_UP_SECONDS = 6 * 3600.0
"""How old a letter may become. Long enough for a mail server to be mended in a night, and nobody waits longer for a link."""
MAX_RECEIPT = 200
SLOW_MS = 5_000.0
"""Handing over that takes longer than this many milliseconds is worth an event."""


class Delivery:
    """Attempts at letters of `store`, by `carrier`. `seen` is told what each attempt says of the other side, None for a success."""

    def __init__(
        self,
        store: Store,
        carrier: Carrier,
        composers: Mapping[str, Composer],
        seen: Callable[[Undelivered | None], None],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._carrier = carrier
        self._composers = composers
        self._seen = seen
        self._clock = clock

    async def attempt(self, letter: Letter, lease: str) -> None:
        """One attempt at `letter`, on which `lease` is ours. Nothing that goes wrong with it is raised."""
        with bound(Request(letter.request_id)) if letter.request_id else contextlib.nullcontext():
            try:
                message = await self._composed(letter)
                if message is not None:
                    await self._carried(letter, message)
            except Undelivered as failure:
                await self._not_sent(letter, lease, failure)
                return
            # Whoever has the lease by now: it must not go out again.
            await _noted(lambda: table.remove(self._store, letter.id))
            if message is None:
                log.info("email_dropped", **_about(letter), age_seconds=self._age(letter))

    async def _composed(self, letter: Letter) -> Message | None:
        """The message of `letter`. Raises ``Undeliverable``."""
        composer = self._composers.get(letter.kind)
        if composer is None:
            # A newer version may have put it there, and its workers will know.
            raise Undeliverable("compose", "UnknownKind")
        try:
            async with asyncio.timeout(COMPOSE_SECONDS):
                message = await composer(letter)
        except StoreUnavailable as error:
            raise Undeliverable("compose", type(error).__name__) from error
        except Exception as error:
            log.error("mail_failed", kind=letter.kind, **describe(error))
            raise Undeliverable("compose", type(error).__name__) from error
        return message and replace(message, id=letter.id, request_id=letter.request_id or "")

    async def _carried(self, letter: Letter, message: Message) -> None:
        """Hand the message over, and tell how that went. Raises ``Undelivered``."""
        started = time.perf_counter()
        failure: Undelivered | None = None
        receipt = ""
        try:
            async with asyncio.timeout(CARRY_SECONDS):
                receipt = await self._carrier.send(message)
        except Undelivered as error:
            failure = error
        except TimeoutError:
            failure = Unreachable("attempt", "TimeoutError")
        except Exception as error:
            log.error("mail_failed", kind=letter.kind, **describe(error))
            failure = Undeliverable("attempt", type(error).__name__)
        duration_ms = round((time.perf_counter() - started) * 1e3, 3)
        if isinstance(failure, Unreachable) or duration_ms > SLOW_MS:
            log.warning(
                "dependency_call",
                dependency="mail",
                operation="send",
                duration_ms=duration_ms,
                outcome="failed" if isinstance(failure, Unreachable) else "slow",
                status=failure and (failure.status or failure.reason),
            )
        self._seen(failure)
        if failure is not None:
            raise failure
        # Before it is noted: that it was taken is what happened, even if it should then be sent again.
        if self._carrier.mock:
            log.info("email_sent_mock", **_about(letter), attempts=letter.attempts, file=receipt)
        else:
            log.info(
                "email_sent",
                **_about(letter),
                attempts=letter.attempts,
                duration_ms=duration_ms,
                receipt=receipt[:MAX_RECEIPT],
            )

    async def _not_sent(self, letter: Letter, lease: str, failure: Undelivered) -> None:
        """Have the letter tried again later, or give it up."""
        told = {
            **_about(letter),
            "stage": failure.stage,
            "reason": failure.reason,
            "status": failure.status,
            "attempts": letter.attempts,
        }
        wait = wait_seconds(letter.attempts)
        if isinstance(failure, Refused) or self._age(letter) + wait > GIVE_UP_SECONDS:
            await _noted(lambda: table.remove(self._store, letter.id))
            log.error("email_given_up", **told, age_seconds=self._age(letter))
            return
        await _noted(lambda: table.give_back(self._store, lease, [letter.id], self._clock() + wait))
        log.warning("email_delayed", **told, next_attempt_seconds=round(wait, 1))

    def _age(self, letter: Letter) -> float:
        return round(self._clock() - letter.created_at, 1)


def _about(letter: Letter) -> dict[str, str]:
    return {"to_email": letter.to, "kind": letter.kind, "letter": letter.id}


async def _noted(note: Callable[[], Awaitable[None]]) -> None:
    """Write down how it went, though the database be away for a moment. What cannot be written down is sent again; the store tells why."""
    until = time.monotonic() + NOTE_SECONDS
    while True:
        try:
            return await note()
        except StoreUnavailable:
            if time.monotonic() > until:
                return None
        await asyncio.sleep(1)
