"""Requests, one after the other, for as long as a fault lasts: which status each got, and how long it took."""

import http.client
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness import ServerProcess

PATIENCE_SECONDS = 45
"""Longer than any server here is made to stand still."""


class Load:
    """What was answered so far: `answers` holds (when it was asked for, milliseconds, path, status; 0 is no answer)."""

    def __init__(self, server: ServerProcess, paths: tuple[str, ...]) -> None:
        self.answers: list[tuple[float, float, str, int]] = []
        self._server = server
        self._paths = paths
        self._stopping = threading.Event()

    def run(self) -> None:
        """Ask until `stop`."""
        connection = http.client.HTTPConnection(*self._server.address, timeout=PATIENCE_SECONDS)
        number = 0
        while not self._stopping.wait(0.001):
            path = self._paths[number % len(self._paths)]
            number += 1
            began = time.monotonic()
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                response.read()
                status = response.status
            except (OSError, http.client.HTTPException):
                connection.close()
                status = 0
            self.answers.append((began, (time.monotonic() - began) * 1000, path, status))
        connection.close()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def statuses(self) -> Counter[tuple[str, int]]:
        """How often each path was answered with each status."""
        return Counter((path, status) for _, _, path, status in self.answers)

    def p99_ms(self, since: float, until: float, window: float = 0.5) -> float:
        """The median of the 99th percentiles of windows between two moments: one hiccup of the machine is no finding."""
        found = []
        while since < until:
            times = sorted(ms for at, ms, _, _ in self.answers if since <= at < since + window)
            if times:
                found.append(times[int(len(times) * 0.99)])
            since += window
        return statistics.median(found)


@contextmanager
def under_load(server: ServerProcess, *paths: str) -> Iterator[Load]:
    """Within the block somebody asks for these paths all the time."""
    load = Load(server, paths)
    thread = threading.Thread(target=load.run)
    thread.start()
    try:
        yield load
    finally:
        load.stop()
        thread.join(30)
