"""Signing up, in and out over HTTP.

A session is shown as `Authorization: Bearer …` and nowhere else: no cookie, so no page can use it without the widget's doing.
"""

from aiohttp import web

from server.answers import json_response
from server.bodies import read_body, read_query
from server.clock import SECOND, told, wall_clock
from server.errors import Unauthorized
from server.request import NONE_SHOWN, account_holder, exchange, shown_token, somebody

from .letter import LINK_MS
from .models import (
    LoggedOut,
    Migrated,
    MigrateRequest,
    Pending,
    ResendRequest,
    SessionReply,
    SessionState,
    SignUpRequest,
    StatusQuery,
    VerificationState,
    VerifyRequest,
)
from .sessions import Opened, Sessions
from .signup import Asked, SignUp

SIGN_UP = web.AppKey("sign_up", SignUp)
SESSIONS = web.AppKey("sessions", Sessions)


async def sign_up(request: web.Request) -> web.StreamResponse:
    """Send a letter with a link that lets its reader in; 202 whether or not there is an account."""
    body = await read_body(request, SignUpRequest)
    asked = await request.app[SIGN_UP].ask(body.email, consent=body.consent, page_url=body.page_url)
    return _pending(asked)


async def resend(request: web.Request) -> web.StreamResponse:
    """Send another letter; 202 whether or not there is anybody to send it to."""
    body = await read_body(request, ResendRequest)
    return _pending(await request.app[SIGN_UP].again(body.email, page_url=body.page_url))


async def status(request: web.Request) -> web.StreamResponse:
    """How it stands with a verification."""
    found = await request.app[SIGN_UP].status(read_query(request, StatusQuery).verification_id)
    return json_response(VerificationState(state=found))


async def verify(request: web.Request) -> web.StreamResponse:
    """Spend the token of a link; 200 with a session, to which the conversations of an anonymous one that is shown move."""
    body = await read_body(request, VerifyRequest)
    served = exchange()
    assert served is not None, "access comes first"
    # One that has ended is no reason not to sign in.
    shown = served.visitor if served.visitor is not None and served.visitor.anonymous else None
    return json_response(session_reply(await request.app[SIGN_UP].verify(body.token, shown)))


async def check(_: web.Request) -> web.StreamResponse:
    """How it stands with the session that is shown; never an error, so that asking costs nothing but the question."""
    served = exchange()
    assert served is not None, "access comes first"
    who, now = served.visitor, wall_clock()
    if who is None:
        state = "anonymous" if served.refusal is None else "expired"
        return json_response(SessionState(state=state, tier=0, email=None, expires_at=None, expires_in=0))
    return json_response(
        SessionState(
            state="anonymous" if who.anonymous else "logged_in",
            tier=who.tier,
            email=who.email,
            expires_at=told(who.expires_at),
            expires_in=(who.expires_at - now) // SECOND,
        )
    )


async def refresh(request: web.Request) -> web.StreamResponse:
    """Continue the session that is shown under a new token; the old one ends at once."""
    token = shown_token(request)
    if token is None:
        raise Unauthorized(NONE_SHOWN)
    return json_response(session_reply(await request.app[SESSIONS].refresh(token)))


async def migrate(request: web.Request) -> web.StreamResponse:
    """Give the account whose session is shown the conversations of an anonymous session; once."""
    who = account_holder()
    body = await read_body(request, MigrateRequest)
    return json_response(Migrated(conversations=await request.app[SESSIONS].bring(who, body.session)))


async def log_out(request: web.Request) -> web.StreamResponse:
    """End the session that is shown."""
    who = somebody()
    await request.app[SESSIONS].end(who)
    return json_response(LoggedOut())


def _pending(asked: Asked) -> web.StreamResponse:
    return json_response(Pending(verification_id=asked.id, expires_in=LINK_MS // SECOND), status=202)


def session_reply(opened: Opened) -> SessionReply:
    """A session that has just begun, as its owner is told of it."""
    who = opened.visitor
    return SessionReply(
        state="anonymous" if who.anonymous else "logged_in",
        token=opened.token,
        tier=who.tier,
        email=who.email,
        expires_at=told(who.expires_at),
        expires_in=max(0, (who.expires_at - wall_clock()) // SECOND),
    )
