"""aiohttp on uvloop with its own access log, into a file."""

import logging
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from tests.bench.servers.bare import application


def main(port: int, folder: Path) -> None:
    logging.basicConfig(filename=folder / "access.log", level=logging.INFO)
    web.run_app(application(), host="127.0.0.1", port=port, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
