"""The headers of what aiohttp prepares, streams above all, are stamped when it starts; see `server.headers`."""

from aiohttp import web

from pipeline.context import bound
from pipeline.log import log
from server.headers import stamp
from server.request import Exchange, exchange

from .request_id import mint


async def started(_: web.Request, response: web.StreamResponse) -> None:
    """Stamp `response`, whose head is about to be sent; a signal handler of aiohttp's."""
    served = exchange() or _before_middleware(response)
    served.started = response
    stamp(response.headers, served)


def _before_middleware(response: web.StreamResponse) -> Exchange:
    """What no route matched aiohttp may refuse before any middleware is asked: `OPTIONS *` with a strange `Expect`."""
    with bound(Exchange(mint())) as served:
        log.warning("http_rejected", reason="Expect", status=response.status, client=None)
    return served
