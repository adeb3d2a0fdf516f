"""The outbox: a letter that was put into it is sent, or given up with an event, whatever dies in between.

    put (in the caller's transaction) → claim (a lease) → compose → carry → forget, or put off

What a letter says is not kept. It is composed just before each attempt, so that no token lies in the database. Each worker runs one
outbox, all of them on one table.

A letter is sent **at least once**: who is killed, or cut off, between a mail server's answer and the note of it sends it a second time, under
the same Message-ID. So a composer must leave valid whatever an earlier attempt may have delivered.

While the mail server cannot be reached, each worker asks for it with one letter at a time, and ever less often. When one goes through,
all that waited go at once.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline.context import current
from pipeline.exceptions import describe
from pipeline.log import log
from server.store import outbox as table
from server.store.engine import Store, StoreUnavailable
from server.store.outbox import Backlog, Letter

from .backoff import LONGEST_SECONDS, PROBE_SECONDS, wait_seconds
from .carrier import Carrier, Undelivered, Unreachable
from .delivery import LEASE_SECONDS, Composer, Delivery
from .message import Message

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Composer", "Letter", "Message", "Outbox"]

AT_ONCE = 4
"""How many letters one worker sends at the same time."""
POLL_SECONDS = 5.0
"""How often an outbox looks for letters that nobody told it of: other workers', those put off, those of the dead."""
GIVE_BACK_SECONDS = 1.0
"""How long a stop waits for the database at most."""
FARTHEST_SECONDS = 2 * LONGEST_SECONDS
"""No letter is put off as far, or leased for as long."""


class Outbox:
    """Sends what is put into it by `carrier`; `composers` has one for each kind of letter.

    `reached` is told at each attempt whether the carrier's other side is there, and if not, why. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        carrier: Carrier,
        composers: Mapping[str, Composer],
        *,
        reached: Callable[[bool, str], None] = lambda _connected, _reason: None,
        clock: Callable[[], float] = time.time,
        poll_seconds: float = POLL_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._store = store
        self._carrier = carrier
        self._composers = composers
        self._reached = reached
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._lease_seconds = lease_seconds
        self._delivery = Delivery(store, carrier, composers, self._seen, clock)
        self._woken = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._stopping = False
        self._sending: dict[asyncio.Task[None], tuple[str, str]] = {}
        """The attempts that go on, each with its lease and its letter."""
        self._backlog = Backlog()
        self._hasten = True  # Whoever starts may have mended what letters were put off for.
        self._unreached = 0
        self._quiet_until = 0.0

    @property
    def available(self) -> bool:
        """Whether letters can be sent at all, as the server is set up. If not, promise nobody one."""
        return self._carrier.available

    @property
    def waiting(self) -> int:
        """How many letters there were when the outbox was last looked into: all workers', those being sent included."""
        return self._backlog.waiting

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest of them has waited."""
        oldest = self._backlog.oldest_at
        return 0.0 if oldest is None else max(0.0, self._clock() - oldest)

    async def put(self, connection: "AsyncConnection", kind: str, to: str, subject_id: str) -> str:
        """Put a letter in, within the caller's transaction; its ID. Call `wake` once that is committed.

        The letter belongs to the request that is being served, if one is. Raises ``ValueError`` for a kind that nobody composes.
        """
        if kind not in self._composers:
            raise ValueError(f"nobody composes letters of the kind {kind!r}")
        request = current()
        request_id = None if request is None else request.request_id
        return await table.add(connection, kind, to, subject_id, request_id=request_id, now=self._clock())

    def wake(self) -> None:
        """There is a new letter: look now."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is due until stopped or cancelled. Nothing else ends it."""
        self._ended.clear()
        try:
            while not self._stopping:
                self._woken.clear()
                await self._sleep(await self._round())
        finally:
            self._ended.set()

    async def stop(self, seconds: float) -> None:
        """Begin nothing more, let what is being sent end within `seconds`, and leave the rest to whoever comes next."""
        self._stopping = True
        self.wake()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)
        if self._sending:
            await asyncio.wait(set(self._sending), timeout=max(0.0, deadline - loop.time()))
        cut_off = dict(self._sending)
        for attempt in cut_off:
            attempt.cancel()
        await asyncio.gather(*cut_off, return_exceptions=True)
        # If this fails, for whatever reason, the leases end by themselves.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                for lease, letter_id in cut_off.values():
                    await table.give_back(self._store, lease, [letter_id], self._clock())

    async def _round(self) -> float:
        """Begin what is due and there is room for; seconds until it is worth looking again."""
        try:
            self._backlog = await table.backlog(self._store)
            due_at, now, room = self._backlog.next_at, self._clock(), self._room()
            if due_at is None or room <= 0:
                return self._poll_seconds  # An attempt that ends wakes us.
            if self._hasten:
                await table.hasten(self._store, now, now + FARTHEST_SECONDS)
                self._hasten = False
                return 0.0
            # If the clock was set back, nothing is to wait until it is there again.
            self._hasten = due_at > now + FARTHEST_SECONDS
            self._quiet_until = min(self._quiet_until, now + PROBE_SECONDS)
            if (pause := max(due_at, self._quiet_until) - now) > 0:
                return min(pause, self._poll_seconds)
            await self._begin(room)
        except StoreUnavailable:
            return self._poll_seconds  # The store has told it.
        except Exception as error:
            log.error("mail_failed", kind=None, **describe(error))
            return self._poll_seconds
        return 0.0

    def _room(self) -> int:
        """How many more letters may be under way."""
        return (1 if self._unreached else AT_ONCE) - len(self._sending)

    async def _begin(self, room: int) -> None:
        """Claim at most so many letters, and begin an attempt at each."""
        lease, now = secrets.token_hex(16), self._clock()
        for letter in await table.claim(self._store, lease, room, now, now + self._lease_seconds):
            attempt = asyncio.create_task(self._delivery.attempt(letter, lease), name=f"mail-{letter.id}")
            self._sending[attempt] = lease, letter.id
            attempt.add_done_callback(self._attempted)

    def _attempted(self, attempt: "asyncio.Task[None]") -> None:
        del self._sending[attempt]
        if not attempt.cancelled() and (error := attempt.exception()) is not None:
            log.error("mail_failed", kind=None, **describe(error))
        self.wake()

    def _seen(self, failure: Undelivered | None) -> None:
        """What one attempt says of the mail server counts for all letters."""
        now = self._clock()
        if not isinstance(failure, Unreachable):
            if failure is not None and failure.status is None:
                return  # Our own failure: nobody was asked.
            self._hasten = self._hasten or self._unreached > 0
            self._unreached, self._quiet_until = 0, 0.0
            self._reached(True, "")
            return
        if now >= self._quiet_until:  # Several that were under way together count once.
            self._unreached += 1
            self._quiet_until = now + wait_seconds(self._unreached, PROBE_SECONDS)
        self._reached(False, failure.reason)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
