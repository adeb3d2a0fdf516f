"""The headers that a response carries whatever it is: stamped when it starts, so that streams have them too."""

from aiohttp import hdrs, web

from pipeline.context import Request, bound
from pipeline.log import log
from server.http import DEFAULTS, SNIFFING
from server.request import HEADERS, STARTED

from .request_id import HEADER, mint


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers decided for `request` on `response`; a signal handler of aiohttp's."""
    request[STARTED] = response
    headers = response.headers
    if SNIFFING not in headers:  # One that has it was made with all of them.
        headers.pop(hdrs.SERVER, None)  # aiohttp's own, which tells versions
        for name, value in DEFAULTS.items():
            headers.setdefault(name, value)
    decided = request[HEADERS] if HEADERS in request else _before_middleware(response)
    if hdrs.VARY in headers and hdrs.VARY in decided:
        decided = {**decided, hdrs.VARY: f"{headers[hdrs.VARY]}, {decided[hdrs.VARY]}"}
    headers.update(decided)


def _before_middleware(response: web.StreamResponse) -> dict[str, str]:
    """What no route matched aiohttp may refuse before any middleware is asked: `OPTIONS *` with a strange `Expect`."""
    with bound(Request(mint())) as context:
        log.warning("http_rejected", reason="Expect", status=response.status, client=None)
    return {HEADER: context.request_id}
