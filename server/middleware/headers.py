"""The headers that a response carries whatever it is: stamped when it starts, so that streams have them too."""

from aiohttp import hdrs, web

from pipeline.context import Request, bound
from pipeline.log import log
from server.request import HEADERS, STARTED

from .request_id import HEADER, mint

# What holds for every answer that does not say otherwise. An answer is data for a program: no page may frame it, run it
# or guess what it is. The widget and the demo page set their own.
SERVER = {"Server": "ChatKit"}
DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers decided for `request` on `response`; a signal handler of aiohttp's."""
    request[STARTED] = response
    headers = response.headers
    headers.update(SERVER)
    for name, value in DEFAULTS.items():
        headers.setdefault(name, value)
    for name, value in (request.get(HEADERS) or _before_middleware(response)).items():
        if name == hdrs.VARY and name in headers:
            headers[name] = f"{headers[name]}, {value}"
        else:
            headers[name] = value


def _before_middleware(response: web.StreamResponse) -> dict[str, str]:
    """What no route matched aiohttp may refuse before any middleware is asked: `OPTIONS *` with a strange `Expect`."""
    with bound(Request(mint())) as context:
        log.warning("http_rejected", reason="Expect", status=response.status, client=None)
    return {HEADER: context.request_id}
