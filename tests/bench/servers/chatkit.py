"""ChatKit as it is served, everything on, with one more route. Takes the arguments of `python -m server`."""

import sys

from aiohttp import web

from server import routes
from server.__main__ import main
from server.answers import json_response
from tests.bench.servers import ANSWER, PATH


async def answer(_: web.Request) -> web.StreamResponse:
    return json_response(ANSWER)


# The table is read when an application is made, in this process or in a worker that is forked from it.
vars(routes)["ROUTES"] = (
    *routes.ROUTES,
    routes.Route("GET", PATH, answer, "A small answer", {200: routes.ANY}),
)

if __name__ == "__main__":
    sys.exit(main())
