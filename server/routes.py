"""Every URL, one line each. `/openapi.json` is made from this table."""

from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import hdrs, web
from pydantic import BaseModel

from . import pages
from .chat import handlers as chat
from .chat.models import Answer, Question
from .errors import MethodNotAllowed, NotFound
from .operations import faults, health, metrics
from .request import UNMATCHED, Handler, methods_at

STREAM = "text/event-stream"
HTML = "text/html"
ANY = "*/*"

# What any POST with a JSON body may be refused with, beside its own.
_BODY = (400, 408, 413, 415)


class Route(NamedTuple):
    """One URL: what it takes, what it answers, and with which statuses it may refuse."""

    method: str
    path: str
    handler: Handler
    summary: str
    takes: type[BaseModel] | None = None
    answers: Mapping[int, type[BaseModel] | str] = {200: "application/json"}
    refuses: tuple[int, ...] = ()


def table(*, test_mode: bool = False) -> list[Route]:
    """All routes; `test_mode` adds the faults."""
    routes = [
        Route("GET", "/", pages.index, "A page to try the widget on", answers={200: HTML, 304: ""}),
        Route(
            "GET",
            "/page/{name}",
            pages.page_file,
            "What that page loads",
            answers={200: ANY, 304: ""},
            refuses=(404,),
        ),
        Route(
            "GET",
            "/widget/{name}",
            pages.widget_file,
            "The widget",
            answers={200: ANY, 304: ""},
            refuses=(404,),
        ),
        Route(
            "GET",
            "/health",
            health.health,
            "Is it well?",
            answers={200: "application/json", 500: "application/json"},
        ),
        Route("GET", "/health/live", health.live, "Does the process answer?"),
        Route(
            "GET",
            "/health/ready",
            health.ready,
            "Should traffic come here?",
            answers={200: "application/json", 503: "application/json"},
        ),
        Route("GET", "/metrics", metrics.metrics, "Figures, as JSON or for Prometheus", answers={200: ANY}),
        Route("POST", "/api/v1/chat", chat.ask, "Answer a question", Question, {200: Answer}, (*_BODY, 503)),
        Route(
            "POST",
            "/api/v1/chat/stream",
            chat.ask_stream,
            "Answer a question as it is made",
            Question,
            {200: STREAM},
            (*_BODY, 503),
        ),
        Route("GET", "/openapi.json", describe, "This description"),
    ]
    if test_mode:
        routes.append(
            Route(
                "GET",
                "/test/faults/{kind}",
                faults.fault,
                "Break on purpose",
                answers={200: ANY},
                refuses=(400, 404),
            )
        )
    return routes


def install(app: web.Application, *, test_mode: bool) -> None:
    """Give `app` every route, and one for what is at no address."""
    for route in table(test_mode=test_mode):
        app.router.add_route(route.method, route.path, route.handler, expect_handler=_expect)
        if route.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, route.path, route.handler, expect_handler=_expect)
    nowhere = app.router.add_resource("/{path:.*}", name=UNMATCHED)
    nowhere.add_route(hdrs.METH_ANY, _nowhere, expect_handler=_expect)


async def describe(_: web.Request) -> web.Response:
    """The OpenAPI description of this server."""
    from .openapi import document

    return web.Response(body=document(), content_type="application/json")


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
