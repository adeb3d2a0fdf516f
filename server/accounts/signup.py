"""Signing up and in, which are one: an address is given, a letter with a link goes there, and who comes with the link is let in.

    asked ──letter written──► armed (10 minutes) ──token spent──► session
                                └── expired: asked again

Known and unknown addresses go the same way, with the same statements in the same order: whether there is an account is looked at
only when the token is spent, by who has read the letter.

The letter and the token in it are made when it is sent, see `letter`.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.clock import DAY, Clock
from server.errors import (
    ConsentRequired,
    Detail,
    InvalidRequest,
    InvalidToken,
    NotFound,
    ServiceUnavailable,
    TokenExpired,
)
from server.mail.address import normalized
from server.mail.outbox import Outbox
from server.origins import origin_of
from server.store import accounts
from server.store.engine import Store

from .letter import KIND, LINK_MS
from .sessions import Opened, Sessions
from .tokens import Digester, Purpose
from .visitor import Tier, Visitor

PENDING_MS = DAY
"""How long a verification is known at all."""

declare(
    [
        Event(
            "sign_in_requested",
            "INFO",
            "Somebody gave a mail address to sign up or in; a letter is on its way. Whether there is an account is not known.",
            {"verification": Field("its ID, by which the letter's events can be found")},
        ),
        Event(
            "account_verified",
            "INFO",
            "Somebody came with the link of a letter: the address is theirs, and they are signed in.",
            {
                "account": Field("the account's ID"),
                "created": Field("whether it was made just now"),
                "session": Field("the session that begins"),
                "verification": Field("the verification's ID"),
                "conversations": Field(
                    "how many they had as an anonymous visitor, which are the account's now"
                ),
            },
        ),
        Event(
            "verification_failed",
            "WARNING",
            "Somebody came with a token that lets nobody in.",
            {"reason": Field("`unknown`, `spent` or `expired`")},
        ),
    ]
)

Status = Literal["pending", "verified", "expired"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A letter is on its way. `id` asks how it stands, and opens nothing."""

    id: str


class SignUp:
    """From an address to a session.

    `embeds` tells whether a site, as an origin, may embed the widget: only there may a link lead. `spend` counts a letter to an address, and
    raises ``RateLimited`` when it has had its share.
    """

    def __init__(
        self,
        *,
        store: Store,
        digester: Digester,
        sessions: Sessions,
        outbox: Outbox,
        clock: Clock,
        embeds: Callable[[str], bool],
        spend: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._digester = digester
        self._sessions = sessions
        self._outbox = outbox
        self._clock = clock
        self._embeds = embeds
        self._spend = spend

    async def ask(self, email: str, *, consent: bool, page_url: str | None) -> Asked:
        """Send a letter to `email`.

        Raises ``InvalidEmail``, ``ConsentRequired``, ``InvalidRequest`` for a page to which no link may lead, ``RateLimited``, and
        ``ServiceUnavailable`` where no mail can be sent, or the store cannot be reached.
        """
        address = normalized(email)
        if not consent:
            raise ConsentRequired("Please agree to the terms first.", details=[_CONSENT])
        return await self._ask(address, page_url, consent=True)

    async def again(self, email: str, *, page_url: str | None) -> Asked:
        """Send another letter to `email`, if its owner has ever consented; the answer is the same if not.

        Raises ``InvalidEmail``, ``InvalidRequest``, ``RateLimited`` and ``ServiceUnavailable``.
        """
        return await self._ask(normalized(email), page_url, consent=False)

    async def _ask(self, email: str, page_url: str | None, *, consent: bool) -> Asked:
        self._check_page(page_url)
        if not self._outbox.available:
            raise ServiceUnavailable("Signing in by mail is not set up here.")
        await self._spend(email)
        asked, now = Asked(secrets.token_hex(16)), self._clock()
        async with self._store.writing("ask_verification", durable=True) as connection:
            # Asked in any case: what is done for one address and not for another could be seen in the time it takes.
            before = await accounts.consent(connection, email)
            row = {
                "id": asked.id,
                "email": email,
                "page_url": page_url,
                "consented_at": now if consent else before,
                "requested_at": now,
            }
            await accounts.ask(connection, row)
            await self._outbox.put(connection, kind=KIND, to=email, subject_id=asked.id)
        self._outbox.wake()
        log.info("sign_in_requested", verification=asked.id)
        return asked

    def _check_page(self, page_url: str | None) -> None:
        if page_url is not None and not self._embeds(origin_of(page_url)):
            problem = "No link may lead there. Send the address of a page of a site in CORS_ORIGINS, or none."
            raise InvalidRequest(
                "The request is not valid: see page_url.", details=[Detail(field="page_url", problem=problem)]
            )

    async def status(self, verification_id: str) -> Status:
        """How it stands with a verification. Raises ``NotFound`` and ``StoreUnavailable``.

        It tells nothing of the letter, which may be late, or withheld: what becomes of that would tell who has ever consented.
        """
        async with self._store.reading("verification") as connection:
            asked = await accounts.verification(connection, verification_id=verification_id)
        now = self._clock()
        if asked is None or asked.requested_at + PENDING_MS < now:
            raise NotFound("There is no such verification, or it is too long ago.")
        if asked.spent_at is not None:
            return "verified"
        return "pending" if asked.requested_at + LINK_MS > now else "expired"

    async def verify(self, token: str, anonymous: Visitor | None) -> Opened:
        """Let in who has read the letter, and give the account what they had as an `anonymous` visitor.

        Raises ``InvalidToken``, ``TokenExpired``, ``NotDurable`` (the token can then still be spent) and ``StoreUnavailable``.
        """
        digests = self._digester.digests(token, Purpose.VERIFICATION)
        now = self._clock()
        async with self._store.writing("verify", durable=True) as connection:
            asked = await accounts.spend(connection, digests, now) if digests else None
            if asked is not None and asked.consented_at is not None:
                new = {
                    "id": secrets.token_hex(16),
                    "email": asked.email,
                    "tier": Tier.LIGHTWEIGHT,
                    "consented_at": asked.consented_at,
                    "created_at": now,
                }
                account, created = await accounts.account_of(connection, new)
                opened = await self._sessions.begin(connection, account)
                moved = 0
                if anonymous is not None:
                    moved = await self._sessions.migrate(connection, anonymous, account.id)
                await log.durable(
                    "account_verified",
                    account=account.id,
                    created=created,
                    session=opened.visitor.session,
                    verification=asked.id,
                    conversations=moved,
                )
                return opened
            found = await accounts.verification(connection, digests=digests) if digests else None
        if found is None:
            log.warning("verification_failed", reason="unknown")
            raise InvalidToken("This link is not valid. Please ask for a new one.")
        if found.spent_at is not None:
            log.warning("verification_failed", reason="spent")
            raise InvalidToken("This link has been used. Please ask for a new one.")
        log.warning("verification_failed", reason="expired")
        raise TokenExpired("This link is no longer valid. Please ask for a new one.")


_CONSENT = Detail(field="consent", problem="Must be true.")
