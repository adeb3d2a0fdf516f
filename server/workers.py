"""More than one worker: gunicorn holds the socket, starts the workers, and replaces one that dies.

The parent takes the log's folder, sees that the database has its shape (in development it brings it there), and then only watches; each worker is a whole server with a
ring, segments and figures of its own (see `app`). The parent has no event log: what it has to say goes to standard error.
"""

import logging
import math
import os
import socket
from collections.abc import Callable
from typing import Any, cast

from aiohttp import GunicornUVLoopWebWorker
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from pipeline import bridge
from pipeline.log import log, new_boot, standard_error

from . import VERSION
from .app import BACKLOG, Server
from .connection import Runner
from .lifecycle import Group
from .parts import listening_step
from .settings import Settings
from .steps import StepFailed

SILENT_SECONDS = 60
"""A worker whose loop has stood still for so long is killed and replaced."""
WORKER_BOOT_ERROR = 3
"""How gunicorn ends when its workers cannot start."""


class _Logger(Logger):
    """gunicorn's logger without its handlers: its records go where all others go."""

    def setup(self, cfg: Any) -> None:
        """Nothing of its own."""
        self.cfg = cfg
        self._access_log_enabled = False
        for logger in (self.error_log, self.access_log):
            logger.propagate = True
            logger.setLevel(logging.WARNING)


class Worker(GunicornUVLoopWebWorker):
    """One worker: a server on a socket that gunicorn holds."""

    async def _run(self) -> None:
        parent = self.app
        assert isinstance(parent, Workers)
        server = parent.server()

        async def serve() -> Runner:
            runner = await server.open()
            if server.life.first:
                parent.announce(server.listening)
            return runner

        self.wsgi = cast("Any", serve)
        try:
            await super()._run()
        except StepFailed as failed:
            failed.tell(standard_error)
            raise SystemExit(WORKER_BOOT_ERROR) from None
        if not await server.stop("SIGTERM"):
            # A thread is still in a write that does not return; waiting for it would make the stop as endless as the write.
            os._exit(1)


class Workers(BaseApplication):
    """What gunicorn runs on the socket `listener`. `announce` is called with its address in the first worker that is there to answer."""

    def __init__(
        self,
        settings: Settings,
        group: Group,
        listener: socket.socket,
        announce: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._group = group
        self.announce = announce
        host, port = listener.getsockname()[:2]
        self._listening = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._descriptor = listener.detach()  # gunicorn closes it
        super().__init__(prog="chatkit")

    def load_config(self) -> None:
        """Settings of gunicorn's, which are ours."""
        settings = self._settings
        for name, value in {
            "bind": f"fd://{self._descriptor}",
            "workers": settings.workers,
            "worker_class": "server.workers.Worker",
            "logger_class": _Logger,
            "accesslog": None,
            "timeout": SILENT_SECONDS,
            "graceful_timeout": math.ceil(settings.shutdown_seconds) + 2,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Nothing: the worker knows what to serve."""

    def server(self) -> Server:
        """A server for the process that asks: a worker, just forked."""
        boot = new_boot()
        for writes in (log, standard_error):
            writes.identify(boot=boot, version=VERSION, config=self._settings.fingerprint)
        return Server(self._settings, self._group, listening=self._listening)


def run(settings: Settings, group: Group, announce: Callable[[str], None]) -> int:
    """Serve with several workers until stopped; the exit status. Raises ``StepFailed``."""
    bridge.take_over_logging(logging.WARNING)
    try:
        Workers(settings, group, listening_socket(settings), announce).run()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def listening_socket(settings: Settings) -> socket.socket:
    """The socket on which all workers accept. Raises ``StepFailed``."""
    with listening_step(settings):
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
