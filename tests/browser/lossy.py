"""A way from a browser to a server on which an answer gets lost: before some event of its stream, once.

`cut` breaks the connection there, as a network that is changed does; `hold` lets nothing more through, so that a page can be loaded anew in
the middle of an answer.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

ASKED = b"POST /api/v1/chat/stream "


class Lossy:
    """Passes connections on to `target`; `lost` is how many answers it has lost."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lose: tuple[Literal["cut", "hold"], bytes] | None = None
        self.lost = 0
        self.asked = 0

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self._listening.getsockname())

    def lose(self, how: Literal["cut", "hold"], *, before: Literal["token", "done"]) -> None:
        """Lose the next answer to a question before the first event of that name."""
        self._lose = how, f"event: {before}".encode()

    def serve(self) -> None:
        """Take connections until it is closed."""
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                there = socket.create_connection(self._target)
                self._open |= {here, there}
                asked = threading.Event()
                threading.Thread(target=self._up, args=(here, there, asked), daemon=True).start()
                threading.Thread(target=self._down, args=(there, here, asked), daemon=True).start()

    def close(self) -> None:
        """Close everything."""
        for each in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _up(self, here: socket.socket, there: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while chunk := here.recv(65536):
                if ASKED in chunk:
                    self.asked += 1
                    asked.set()
                there.sendall(chunk)
        _hang_up(there)

    def _down(self, there: socket.socket, here: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while chunk := there.recv(65536):
                if self._lose is None or not asked.is_set() or self._lose[1] not in chunk:
                    here.sendall(chunk)
                    continue
                (how, event), self._lose = self._lose, None
                here.sendall(chunk.partition(event)[0])
                self.lost += 1
                if how == "hold":
                    return  # The rest is never read.
                break
        _hang_up(here)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def lossy(target: tuple[str, int]) -> Iterator[Lossy]:
    """A lossy way to `target` within the block."""
    way = Lossy(target)
    thread = threading.Thread(target=way.serve)
    thread.start()
    try:
        yield way
    finally:
        way.close()
        thread.join()
