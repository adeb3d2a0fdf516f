"""Signing in with an identity provider, from a click to a session.

    begun ──the browser comes back──► answered (2 minutes) ──token and flow secret──► spent: session
      └── expired (10 minutes), or came back with nothing

What goes where, each 256 random bits and kept only as a digest:

    state    through the provider, in addresses    which sign-in an answer belongs to; used once
    flow     never leaves the page that began      shows at the end that it is the browser that began
    token    in the fragment of the page           that the browser came back; used once

The PKCE verifier and the nonce are made of the flow secret with the server's key, so they lie nowhere: not even this server can use a code
before the browser that began shows its secret. That is why there is no cookie, and why nobody can be signed in to another's account by
a link (login CSRF), or use a code that was meant for another browser. The code itself waits sealed with the token. Whoever has the
database has nothing, and whoever sees the addresses has nothing either.

The code is spent when the page asks for the session, not when the browser comes back: so what fails at the provider is told in an ordinary
answer. It is spent once at most, whatever comes of it; who fails begins again.
"""

import asyncio
import importlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urldefrag

from pipeline.log import log
from server.accounts.sessions import Opened, Sessions
from server.accounts.tokens import Digester, Purpose, minted
from server.accounts.visitor import Visitor
from server.clock import DAY, MINUTE, Clock
from server.errors import (
    ConsentRequired,
    Detail,
    Forbidden,
    InvalidRequest,
    InvalidToken,
    NotFound,
    TokenExpired,
)
from server.origins import origin_of
from server.store import forgetting, sign_ins
from server.store.engine import Store
from server.store.sign_ins import SignIn

from . import events  # noqa: F401 - what is told of it
from .identity import Attempt, NotVouched, Provider
from .linking import NotLinked, link
from .seal import opened, sealed
from .upstream import ProviderUnavailable

BEGUN_MS = 10 * MINUTE
"""How long somebody may take at the provider."""
ANSWERED_MS = 2 * MINUTE
"""How long the page to which the browser comes back may take to ask for the session."""
OVER_MS = DAY
"""For how long it is still known that one is over."""
FRAGMENT = "chatkit-oauth"
"""What stands before the token in the address of the page; the widget looks for it."""
FAILED_FRAGMENT = "chatkit-sign-in-error"
"""The same, before one of `denied`, `failed`, `expired` and `used`."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the browser, and the secret that it keeps until it is back."""

    authorization_url: str
    flow: str


@dataclass(frozen=True, slots=True)
class Returned:
    """With what a browser comes back from a provider; `error` instead of `code` when it failed there."""

    state: str
    code: str | None
    error: str | None
    issuer: str | None


class ProviderSignIn:
    """From a click to a session.

    `site` tells where visitors reach this server; `embeds` whether a site, as an origin, may embed the widget: only there a browser is sent.
    """

    def __init__(
        self,
        *,
        store: Store,
        digester: Digester,
        sessions: Sessions,
        providers: Mapping[str, Provider],
        clock: Clock,
        site: Callable[[], str],
        embeds: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._digester = digester
        self._sessions = sessions
        self._clock = clock
        self._site = site
        self._embeds = embeds
        self.providers = providers

    async def prepare(self) -> None:
        """Load what is heavy before somebody waits for it; where there is no provider, nobody will."""
        if self.providers:
            for module in ("joserfc.jwe", "joserfc.jwt"):
                await asyncio.to_thread(importlib.import_module, module)

    async def begin(
        self, name: str, *, consent: bool, page_url: str | None, account: Visitor | None = None
    ) -> Begun:
        """Begin a sign-in with the provider of that `name`; to add it to the `account` of somebody signed in, if one is given.

        Raises ``NotFound``, ``ConsentRequired``, ``InvalidRequest`` for a page to which no browser may be sent, ``ProviderUnavailable`` and
        ``StoreUnavailable``.
        """
        provider = self.providers.get(name)
        if provider is None:
            raise NotFound("Nobody can sign in with that here.")
        if not consent:
            raise ConsentRequired("Please agree to the terms first.", details=[_CONSENT])
        if page_url is not None and not self._embeds(origin_of(page_url)):
            raise InvalidRequest("The request is not valid: see page_url.", details=[_PAGE])
        sign_in, state, flow = secrets.token_hex(16), minted(Purpose.STATE), minted(Purpose.FLOW)
        flow_digest = self._digester.digest(flow, Purpose.FLOW)
        try:
            # Asked first: a provider that is away leaves nothing behind.
            url = await provider.authorization_url(self._attempt(name, flow, flow_digest), state)
        except ProviderUnavailable:
            log.warning("oauth_failed", provider=name, sign_in=None, reason="provider_unavailable")
            raise
        now = self._clock()
        row = {
            "id": sign_in,
            "provider": name,
            "state": self._digester.digest(state, Purpose.STATE),
            "flow": flow_digest,
            "page_url": page_url,
            "account": None if account is None else account.id,
            "consented_at": now,
            "expires_at": now + BEGUN_MS,
        }
        async with self._store.writing("begin_sign_in") as connection:
            await sign_ins.begin(connection, row)
        log.info("oauth_started", sign_in=sign_in, provider=name, account=row["account"])
        return Begun(url, flow)

    async def come_back(self, name: str, returned: Returned) -> str:
        """The page to which the browser goes next, which learns in its fragment how it went.

        Raises ``NotFound`` when the sign-in is not known, and so neither is a page, and ``StoreUnavailable``.
        """
        found = await self._with_state(returned.state)
        now = self._clock()
        if found is None:
            # Else it is whatever somebody wrote into an address.
            known = name if name in self.providers else None
            log.warning("oauth_failed", provider=known, sign_in=None, reason="state_unknown")
            raise NotFound("This sign-in is not known. Please begin again.")
        reason = await self._wrong(name, found, returned)
        token = minted(Purpose.ANSWER)
        async with self._store.writing("answer_sign_in") as connection:
            if reason is None:
                assert returned.code is not None, "it was looked at"
                digest = self._digester.digest(token, Purpose.ANSWER)
                went = await sign_ins.answer(
                    connection,
                    found.id,
                    token=digest,
                    code=sealed(returned.code, self._key(token, digest)),
                    now=now,
                    expires_at=now + ANSWERED_MS,
                )
            else:
                went = await sign_ins.close(connection, found.id, now)
        if not went:
            expired = found.answered_at is None and found.expires_at <= now
            reason = "state_expired" if expired else "state_used"
        if reason is not None:
            log.warning("oauth_failed", provider=found.provider, sign_in=found.id, reason=reason)
            return self._page(found, f"{FAILED_FRAGMENT}={_TOLD.get(reason, 'failed')}")
        return self._page(found, f"{FRAGMENT}={token}")

    async def finish(self, token: str, flow: str, shown: Visitor | None) -> Opened:
        """Let in who comes back with `token` to where `flow` was kept, and give the account what they had as an anonymous visitor.

        `shown` is whose session was shown, if one was. Raises ``InvalidToken``, ``TokenExpired``, ``Forbidden`` when it opens no account,
        ``ProviderUnavailable``, ``NotDurable`` and ``StoreUnavailable``. It is spent in any case but the first two.
        """
        sign_in = await self._spend(token, flow)
        try:
            return await self._let_in(sign_in, self._code(sign_in, token), flow, shown)
        except NotVouched as refused:
            self._failed(sign_in, refused.reason)
            raise InvalidToken("It could not be confirmed who you are. Please begin again.") from refused
        except NotLinked as refused:
            self._failed(sign_in, refused.reason)
            raise
        except ProviderUnavailable:
            self._failed(sign_in, "provider_unavailable")
            raise

    async def forget(self) -> None:
        """Delete those that have been over for some time. Raises ``StoreUnavailable``."""
        await forgetting.sign_ins(self._store, self._clock() - OVER_MS)

    async def _let_in(self, sign_in: SignIn, code: str, flow: str, shown: Visitor | None) -> Opened:
        if sign_in.account is not None and (shown is None or shown.id != sign_in.account):
            self._failed(sign_in, "other_account")
            raise Forbidden("You are not signed in to the account any more to which this was to be added.")
        provider = self.providers.get(sign_in.provider)
        if provider is None:
            raise NotVouched("provider_gone")
        # No transaction is open while the provider is asked.
        vouched = await provider.identify(code, self._attempt(sign_in.provider, flow, sign_in.flow))
        async with self._store.writing("sign_in", durable=True) as connection:
            account, created, linked = await link(connection, vouched, sign_in, self._clock())
            begun = await self._sessions.begin(connection, account)
            moved = 0
            if shown is not None and shown.anonymous:
                moved = await self._sessions.migrate(connection, shown, account.id)
            await log.durable(
                "account_signed_in",
                account=account.id,
                created=created,
                linked=linked,
                session=begun.visitor.session,
                provider=sign_in.provider,
                sign_in=sign_in.id,
                conversations=moved,
            )
            return begun

    async def _with_state(self, state: str) -> SignIn | None:
        digests = self._digester.digests(state, Purpose.STATE)
        async with self._store.reading("sign_in") as connection:
            return await sign_ins.find(connection, state=digests)

    async def _wrong(self, name: str, found: SignIn, returned: Returned) -> str | None:
        """What is wrong with how the browser came back."""
        provider = self.providers.get(found.provider)
        # Each provider sends browsers to an address of its own: one that answers for another is found out (RFC 9700, section 4.4).
        if provider is None or found.provider != name:
            return "provider_mismatch"
        try:
            if not await provider.came_from(returned.issuer):
                return "issuer_mismatch"
        except ProviderUnavailable:
            return "provider_unavailable"
        if returned.error is not None:
            return "denied" if returned.error == "access_denied" else "provider_error"
        return None if returned.code is not None else "code_missing"

    async def _spend(self, token: str, flow: str) -> SignIn:
        """The sign-in of `token`, which is spent by this, if `flow` belongs to it."""
        digests, now = self._digester.digests(token, Purpose.ANSWER), self._clock()
        async with self._store.writing("spend_sign_in", durable=True) as connection:
            found = await sign_ins.find(connection, token=digests)
            if found is not None and found.flow in self._digester.digests(flow, Purpose.FLOW):
                if await sign_ins.spend(connection, found.id, now):
                    return found
                used = found.spent_at is not None or found.expires_at > now
                reason = "token_used" if used else "token_expired"
            else:
                reason = "token_unknown" if found is None else "other_browser"
        self._failed(found, reason)
        if reason == "token_expired":
            raise TokenExpired("That took too long. Please begin again.")
        raise InvalidToken("This sign-in is not valid here, or has been used. Please begin again.")

    def _attempt(self, name: str, flow: str, digest: str) -> Attempt:
        def derived(use: str) -> str:
            return self._digester.derived(flow, Purpose.FLOW, digest, use).hex()

        return Attempt(callback_url(self._site(), name), derived("verifier"), derived("nonce"))

    def _code(self, sign_in: SignIn, token: str) -> str:
        code = opened(sign_in.code or "", self._key(token, sign_in.token or ""))
        if code is None:
            raise NotVouched("code_damaged")
        return code

    def _key(self, token: str, digest: str) -> bytes:
        return self._digester.derived(token, Purpose.ANSWER, digest, "code")

    def _page(self, found: SignIn, fragment: str) -> str:
        """Where the browser goes back to. A site that may not embed the widget any more gets nobody."""
        page = found.page_url
        if page is None or not self._embeds(origin_of(page)):
            page = f"{self._site()}/"
        return f"{urldefrag(page).url}#{fragment}"

    def _failed(self, sign_in: SignIn | None, reason: str) -> None:
        known = None if sign_in is None else sign_in.id
        provider = None if sign_in is None else sign_in.provider
        log.warning("oauth_failed", provider=provider, sign_in=known, reason=reason)


def callback_url(site: str, name: str) -> str:
    """Where the provider of that `name` sends browsers back to; it has to be registered there, to the letter."""
    return f"{site}/api/v1/auth/oauth/{name}/callback"


_CONSENT = Detail(field="consent", problem="Must be true.")
_PAGE = Detail(
    field="page_url",
    problem="No browser may be sent there. Send the address of a page of a site in CORS_ORIGINS, or none.",
)
_TOLD = {"denied": "denied", "state_expired": "expired", "state_used": "used"}
"""What the page is told of a reason; `failed` of any other."""
