"""Every URL, one line each. `/openapi.json` is made from this table."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from aiohttp import hdrs, web
from pydantic import BaseModel

from . import pages
from .accounts import handlers as accounts
from .accounts.models import (
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
from .accounts.oauth import handlers as oauth
from .accounts.oauth.models import CallbackQuery, FinishRequest, Providers, Started, StartRequest
from .chat import handlers as chat
from .chat.models import Answer, Question
from .conversations import handlers as conversations
from .conversations.models import (
    ConversationList,
    ConversationReply,
    ExportQuery,
    ListQuery,
    PersonalizeRequest,
    Recommendations,
    RenameRequest,
    SaveRequest,
    WholeConversation,
)
from .errors import MethodNotAllowed, NotFound
from .limits.policy import Work
from .operations import browser_events, faults, health, metrics
from .request import UNMATCHED, Checks, Handler, methods_at

ANY = "*/*"

Answers = Mapping[int, type[BaseModel] | str]


class Route(NamedTuple):
    """One URL: what it takes, what it answers (a model, or a media type), and with which statuses it may refuse besides (`refusals` has all).

    `takes` is the model of its body, `asks` that of its query; a `session` is `optional` or `needed`. `work` is the kind of work by which it
    is limited and shed; everything below /api/v1 has one.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answers: Answers
    takes: type[BaseModel] | None = None
    refuses: tuple[int, ...] = ()
    asks: type[BaseModel] | None = None
    session: Literal["optional", "needed"] | None = None
    work: Work | None = None

    @property
    def refusals(self) -> tuple[int, ...]:
        """`refuses`, and what follows from the rest: a body or a query that is not valid, no session, too often, not now."""
        body = (400, 408, 413, 415) if self.takes is not None else ()
        query = (400,) if self.asks is not None else ()
        session = (401,) if self.session == "needed" else ()
        work = (429, 503) if self.work is not None else ()
        return tuple(sorted({*self.refuses, *body, *query, *session, *work}))


PAGE: Answers = {200: "text/html", 304: ""}
FILE: Answers = {200: ANY, 304: ""}
CALLBACK: Answers = {303: "", 400: ANY, 404: ANY, 503: ANY}
"""What refuses is a page for people; a request that is not even one is told so in the envelope."""
STREAM: Answers = {200: "text/event-stream"}
# fmt: off
ROUTES = (
    Route("POST", "/api/v1/chat", chat.ask, "Answer a question", {200: Answer}, Question, session="optional", work=Work.CHAT, refuses=(401, 404)),
    Route("POST", "/api/v1/chat/stream", chat.ask_stream, "Answer a question as it is made", STREAM, Question, session="optional", work=Work.CHAT, refuses=(401, 404)),
    Route("GET", "/api/v1/chat/{message_id}/events", chat.events, "The answer to a question that was asked", {**STREAM, 204: ""}, session="needed", work=Work.READ, refuses=(400, 404)),
    Route("POST", "/api/v1/chat/save", conversations.save, "Keep a conversation for good", {200: ConversationReply}, SaveRequest, session="needed", work=Work.SAVE, refuses=(404,)),
    Route("GET", "/api/v1/conversations", conversations.listed, "The visitor's conversations", {200: ConversationList}, asks=ListQuery, session="needed", work=Work.READ, refuses=(404,)),
    Route("GET", "/api/v1/conversations/{conversation_id}", conversations.read, "A conversation", {200: WholeConversation}, session="needed", work=Work.READ, refuses=(404,)),
    Route("PATCH", "/api/v1/conversations/{conversation_id}", conversations.rename, "Give it another title", {200: ConversationReply}, RenameRequest, session="needed", work=Work.OTHER, refuses=(404,)),
    Route("DELETE", "/api/v1/conversations/{conversation_id}", conversations.delete, "Delete it", {204: ""}, session="needed", work=Work.OTHER, refuses=(404,)),
    Route("GET", "/api/v1/conversations/{conversation_id}/export", conversations.export, "Take it along", {200: ANY}, asks=ExportQuery, session="needed", work=Work.READ, refuses=(404,)),
    Route("POST", "/api/v1/user/personalize", conversations.personalize, "What to read next", {200: Recommendations}, PersonalizeRequest, session="needed", work=Work.PERSONALIZE),
    Route("POST", "/api/v1/analytics/event", browser_events.analytics, "Record an event of the widget's", {202: browser_events.Accepted}, browser_events.BrowserEvent, work=Work.OTHER),
    Route("POST", "/api/v1/auth/signup", accounts.sign_up, "Sign up, or in, by mail", {202: Pending}, SignUpRequest, work=Work.SIGN_UP),
    Route("POST", "/api/v1/auth/resend-verification", accounts.resend, "Send the letter again", {202: Pending}, ResendRequest, work=Work.SIGN_UP),
    Route("GET", "/api/v1/auth/verification-status", accounts.status, "Has the letter been answered?", {200: VerificationState}, asks=StatusQuery, work=Work.READ, refuses=(404,)),
    Route("POST", "/api/v1/auth/verify", accounts.verify, "Spend the link of a letter", {200: SessionReply}, VerifyRequest, session="optional", work=Work.OTHER),
    Route("GET", "/api/v1/auth/session-check", accounts.check, "Does the session hold?", {200: SessionState}, session="optional", work=Work.READ),
    Route("POST", "/api/v1/auth/refresh-token", accounts.refresh, "Continue the session", {200: SessionReply}, session="needed", work=Work.OTHER),
    Route("POST", "/api/v1/auth/migrate-session", accounts.migrate, "Move an anonymous visitor's conversations here", {200: Migrated}, MigrateRequest, session="needed", work=Work.OTHER, refuses=(404,)),
    Route("POST", "/api/v1/auth/logout", accounts.log_out, "End the session", {200: LoggedOut}, session="needed", work=Work.OTHER),
    Route("GET", "/api/v1/auth/providers", oauth.providers, "With whom one can sign in", {200: Providers}, work=Work.READ),
    Route("POST", "/api/v1/auth/oauth/{provider}/start", oauth.start, "Begin to sign in with a provider", {200: Started}, StartRequest, session="optional", work=Work.OTHER, refuses=(401, 404)),
    Route("GET", "/api/v1/auth/oauth/{provider}/callback", oauth.callback, "Where a provider sends the browser back to", CALLBACK, asks=CallbackQuery, work=Work.OTHER),
    Route("POST", "/api/v1/auth/oauth/finish", oauth.finish, "End it, with a session", {200: SessionReply}, FinishRequest, session="optional", work=Work.OTHER),
    Route("GET", "/health", health.health, "Is it well?", {200: health.Report, 500: health.Report}),
    Route("GET", "/health/live", health.live, "Does the process answer?", {200: health.Alive}),
    Route("GET", "/health/ready", health.ready, "Should traffic come here?", {200: health.Readiness, 503: health.Readiness}),
    Route("GET", "/metrics", metrics.metrics, "Figures, as JSON or for Prometheus", {200: ANY}),
    Route("GET", "/widget/chatkit.js", pages.widget("chatkit.js"), "The widget", FILE, refuses=(404,)),
    Route("GET", "/widget/chatkit.js.map", pages.widget("chatkit.js.map"), "Its source map", FILE, refuses=(404,)),
    Route("GET", "/", pages.page("index.html"), "A page to try the widget on", PAGE),
    Route("GET", "/page/page.css", pages.page("page.css"), "What that page loads", FILE),
    Route("GET", "/page/page.js", pages.page("page.js"), "What that page loads", FILE),
    Route("GET", "/page/icon.svg", pages.page("icon.svg"), "What that page loads", FILE),
)
# fmt: on


async def describe(_: web.Request) -> web.Response:
    """The OpenAPI description of this server."""
    from .openapi import document

    return web.Response(body=document(), content_type="application/json")


OPENAPI = Route("GET", "/openapi.json", describe, "This description", {200: "application/json"})
FAULTS = Route("GET", "/test/faults/{kind}", faults.fault, "Break on purpose", {200: ANY}, refuses=(400, 404))


def table(*, test_mode: bool = False) -> list[Route]:
    """All routes; `test_mode` adds the faults."""
    return [*ROUTES, OPENAPI, *([FAULTS] if test_mode else [])]


def install(app: web.Application, checked: Checks, *, test_mode: bool) -> None:
    """Give `app` every route, and one for what is at no address; `checked` is put around each handler."""
    for route in table(test_mode=test_mode):
        handler = checked(route.handler, route.path, route.work)
        app.router.add_route(route.method, route.path, handler, expect_handler=_expect)
        if route.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, route.path, handler, expect_handler=_expect)
    nowhere = app.router.add_resource("/{path:.*}", name=UNMATCHED)
    nowhere.add_route(hdrs.METH_ANY, checked(_nowhere, UNMATCHED, None), expect_handler=_expect)


async def _nowhere(request: web.Request) -> web.StreamResponse:
    methods = await methods_at(request)
    if not methods:
        raise NotFound("There is nothing at this address.")
    allowed = ", ".join(sorted(methods))
    raise MethodNotAllowed(f"This address takes {allowed}.", headers={hdrs.ALLOW: allowed})


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Go on, whatever the client expects; aiohttp would refuse the unknown before any middleware is asked."""
    if request.version >= (1, 1) and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written counts as output, and output means to aiohttp that the answer has begun.
        request.writer.output_size = 0
    return None
