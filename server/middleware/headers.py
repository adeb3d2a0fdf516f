"""The headers of what aiohttp prepares, streams above all, are stamped when it starts; see `server.headers`."""

from aiohttp import web

from server.headers import stamp
from server.request import exchange


async def started(_: web.Request, response: web.StreamResponse) -> None:
    """Stamp `response`, whose head is about to be sent; a signal handler of aiohttp's."""
    served = exchange()
    if (
        served is not None
    ):  # Else it is told to somebody whose request could not even be parsed, see `server.connection`.
        served.started = response
        stamp(response.headers, served)
