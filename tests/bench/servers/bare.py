"""aiohttp on uvloop, and nothing else: what any aiohttp server is measured by."""

import sys

import orjson
import uvloop
from aiohttp import web

from tests.bench.servers import ANSWER, PATH


async def answer(_: web.Request) -> web.Response:
    return web.Response(body=orjson.dumps(ANSWER), content_type="application/json")


def application() -> web.Application:
    app = web.Application()
    app.router.add_get(PATH, answer)
    return app


def main(port: int) -> None:
    web.run_app(
        application(), host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop()
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
