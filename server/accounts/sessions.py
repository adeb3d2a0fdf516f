"""Sessions: who shows a token is who it was told to, for as long as it holds.

An anonymous visitor's token may be made by the client, so that a first question that is sent twice comes from one visitor; its session
begins with the first thing that is kept for it. An account's session begins when its owner has shown to be one.

A refresh gives a new token and ends the old one in the same transaction. Whoever comes with an ended one to be refreshed shows that two
have it, and as nobody can tell which of them is the thief, all of its family ends (RFC 9700, section 4.14.2).

What changes an account's session is in the log, flushed, before the change is committed: there is none that is not told of.
"""

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.clock import DAY, Clock
from server.errors import SessionExpired, SessionNotFound, Unauthorized
from server.store import accounts, conversations, forgetting
from server.store.accounts import Account, Session
from server.store.engine import Store

from .tokens import Digester, Purpose, minted, purpose_of
from .visitor import Tier, Visitor

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

SESSION_MS = DAY
"""How long a session of an account holds."""
ANONYMOUS_MS = 30 * DAY
"""How long an anonymous visitor is known again."""
OVER_MS = 7 * DAY
"""For how long it is still known that a session is over: who comes with its token hears that, and reuse is noticed."""

declare(
    [
        Event(
            "session_refreshed",
            "INFO",
            "A session was continued under a new token; the old one opens nothing any more.",
            {
                "session": Field("the new session"),
                "previous": Field("the one that ended"),
                "account": Field("whose it is; null for an anonymous visitor"),
            },
        ),
        Event(
            "session_ended",
            "INFO",
            "A visitor logged out.",
            {
                "session": Field("the session"),
                "account": Field("whose it was; null for an anonymous visitor"),
            },
        ),
        Event(
            "session_migrated",
            "INFO",
            "What an anonymous visitor had now belongs to an account.",
            {
                "session": Field("the anonymous session, which has ended"),
                "account": Field("whose it is now"),
                "conversations": Field("how many conversations have moved"),
            },
        ),
        Event(
            "session_reuse_detected",
            "WARNING",
            "A token that had been refreshed was used to refresh again: somebody else has it. Every session of its family has ended.",
            {
                "session": Field("the session whose token came again"),
                "account": Field("whose it was; null for an anonymous visitor"),
                "ended": Field("how many sessions that held have ended"),
            },
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, and the token that opens it: told to the visitor, and kept nowhere."""

    visitor: Visitor
    token: str


class Sessions:
    """Begins, finds, continues and ends sessions."""

    def __init__(self, store: Store, digester: Digester, clock: Clock) -> None:
        self._store = store
        self._digester = digester
        self._clock = clock

    async def find(self, token: str) -> Visitor:
        """Whose `token` it is; somebody new for an anonymous one that is not known.

        Raises ``Unauthorized`` when nobody has it, ``SessionExpired`` when the session that had it is over, and ``StoreUnavailable``.
        """
        purpose = purpose_of(token)
        if purpose not in {Purpose.SESSION, Purpose.ANONYMOUS}:
            raise _unknown()
        async with self._store.reading("session") as connection:
            found = await self._found(connection, token)
        if found is None and purpose is Purpose.ANONYMOUS:
            return self._somebody_new(token)
        return self._in_force(found)

    async def meet(self, connection: "AsyncConnection", token: str) -> Visitor:
        """The anonymous visitor who shows `token`, which nobody else may be able to guess; known from now on.

        Raises ``SessionExpired``.
        """
        found = await self._found(connection, token)
        if found is not None:
            return self._in_force(found)
        who = self._somebody_new(token)
        await self._keep(connection, who, self._digester.digest(token, Purpose.ANONYMOUS))
        return who

    async def begin(self, connection: "AsyncConnection", account: Account, family: str = "") -> Opened:
        """A session for the owner of `account`."""
        token = minted(Purpose.SESSION)
        who = Visitor(
            account.id, Tier(account.tier), secrets.token_hex(16), self._clock() + SESSION_MS, account.email
        )
        await self._keep(connection, who, self._digester.digest(token, Purpose.SESSION), family)
        return Opened(who, token)

    async def refresh(self, token: str) -> Opened:
        """The account's session of `token` under a new token.

        Raises ``Unauthorized``, ``SessionExpired``, ``NotDurable`` and ``StoreUnavailable``.
        """
        if purpose_of(token) is not Purpose.SESSION:
            raise _unknown()
        async with self._store.writing("refresh_session", durable=True) as connection:
            found, now = await self._found(connection, token), self._clock()
            if found is None or found.account is None:
                raise _unknown()
            if self._holds(found) and await accounts.end(connection, found.id, "refreshed", now):
                account = Account(found.account, found.email or "", found.tier)
                opened = await self.begin(connection, account, found.family)
                await log.durable(
                    "session_refreshed",
                    session=opened.visitor.session,
                    previous=found.id,
                    account=found.account,
                )
                return opened
            # Asked again: another may have refreshed it in between.
            found = await self._found(connection, token) or found
            if found.end_reason == "refreshed":
                ended = await accounts.end_family(connection, found.family, "reused", now)
                await log.durable(
                    "session_reuse_detected", session=found.id, account=found.account, ended=ended
                )
        raise _over()

    async def end(self, visitor: Visitor) -> None:
        """Log `visitor` out. Raises ``NotDurable`` and ``StoreUnavailable``."""
        account = None if visitor.anonymous else visitor.id
        async with self._store.writing("end_session", durable=True) as connection:
            if await accounts.end(connection, visitor.session, "logged_out", self._clock()):
                await log.durable("session_ended", session=visitor.session, account=account)

    async def migrate(self, connection: "AsyncConnection", anonymous: Visitor, account: str) -> int:
        """Give what an anonymous visitor has to `account`, once: its session ends. How many conversations that were."""
        if not await accounts.end(connection, anonymous.session, "migrated", self._clock()):
            return 0
        return await conversations.move(connection, anonymous.id, account)

    async def bring(self, visitor: Visitor, token: str) -> int:
        """Give `visitor`, who has an account, what the anonymous visitor of `token` has; how many conversations that were.

        Raises ``SessionNotFound`` when there is none, or no more, ``NotDurable`` and ``StoreUnavailable``.
        """
        try:
            anonymous = await self.find(token)
        except Unauthorized:
            anonymous = None
        if anonymous is None or not anonymous.anonymous:
            raise SessionNotFound("There is no such anonymous session, or it has moved before.")
        async with self._store.writing("migrate_session", durable=True) as connection:
            moved = await self.migrate(connection, anonymous, visitor.id)
            await log.durable(
                "session_migrated", session=anonymous.session, account=visitor.id, conversations=moved
            )
        return moved

    async def forget(self) -> None:
        """Delete the sessions that have been over for some time, and old verifications. Raises ``StoreUnavailable``."""
        before = self._clock() - OVER_MS
        await forgetting.sessions(self._store, before)
        await forgetting.verifications(self._store, before)

    async def _found(self, connection: "AsyncConnection", token: str) -> Session | None:
        purpose = Purpose.SESSION if purpose_of(token) is Purpose.SESSION else Purpose.ANONYMOUS
        return await accounts.session(connection, self._digester.digests(token, purpose))

    def _holds(self, session: Session) -> bool:
        return session.ended_at is None and session.expires_at > self._clock()

    def _in_force(self, found: Session | None) -> Visitor:
        if found is None:
            raise _unknown()
        if not self._holds(found):
            raise _over()
        return Visitor(found.visitor, Tier(found.tier), found.id, found.expires_at, found.email)

    def _somebody_new(self, token: str) -> Visitor:
        """An anonymous visitor whose IDs come from the token: whoever shows it at the same moment is the same one."""
        digest = self._digester.digest(token, Purpose.ANONYMOUS)
        return Visitor(digest[:32], Tier.ANONYMOUS, digest[32:], self._clock() + ANONYMOUS_MS)

    async def _keep(self, connection: "AsyncConnection", who: Visitor, digest: str, family: str = "") -> None:
        row = {
            "id": who.session,
            "digest": digest,
            "family": family or who.session,
            "visitor": who.id,
            "account": None if who.anonymous else who.id,
            "created_at": self._clock(),
            "expires_at": who.expires_at,
        }
        await accounts.open_session(connection, row)


def _unknown() -> Unauthorized:
    return Unauthorized("This session is not known. Please sign in again.")


def _over() -> SessionExpired:
    return SessionExpired("Your session has ended. Please sign in again.")
