"""What the documents' faults ask of a server, and wait for."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager

from tests.harness import ServerProcess
from tests.waiting import ENOUGH_SECONDS, until

WELL_SECONDS = ENOUGH_SECONDS
"""How long a fault may take to show, and a server to be well again."""


def get(server: ServerProcess, path: str) -> bytes:
    """The body of what it answers, whatever its status."""
    return ask(server, path, "GET")


def ask(server: ServerProcess, path: str, method: str, body: bytes | None = None, **headers: str) -> bytes:
    """The same, for any request; `X_Y` names the header `X-Y`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(server.url + path, data=body, headers=named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=ENOUGH_SECONDS) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return bytes(refused.read())


def ask_question(server: ServerProcess, message: str = "How do I trace a request?", **headers: str) -> bytes:
    """A question; without one, one that its documents can answer."""
    body = json.dumps({"message": message}).encode()
    return ask(server, "/api/v1/chat", "POST", body, Content_Type="application/json", **headers)


def reasons(server: ServerProcess) -> list[str]:
    """Why it is not ready; empty when it is."""
    return list(json.loads(get(server, "/health/ready"))["reasons"])


def until_counted(server: ServerProcess, requests: int) -> None:
    """Until so many requests have their event, which follows the answer."""
    until(
        lambda: json.loads(get(server, "/metrics"))["total_requests"] >= requests,
        f"{requests} requests have their events",
    )


def until_unready(server: ServerProcess, reason: str) -> None:
    """Until it says that it is not ready for that reason."""
    until(lambda: any(found.startswith(reason) for found in reasons(server)), f"the fault shows as {reason}")


def until_ready(server: ServerProcess) -> None:
    """Wait for a server that runs; one that the fault or the reader ended is nobody's to wait for."""
    assert server.process is not None
    deadline = time.monotonic() + WELL_SECONDS
    left = ["not asked yet"]
    while server.process.poll() is None and left:
        assert time.monotonic() < deadline, f"the fault was undone and the server is still not well: {left}"
        try:
            left = reasons(server)
        except OSError as error:
            left = [str(error)]
        time.sleep(0.1 if left else 0)


@contextmanager
def started_with(server: ServerProcess, **settings: str) -> Generator[None]:
    """Within the block the server runs with other settings; they hold until it is stopped."""
    before = dict(server.settings)
    server.stop()
    server.settings |= settings
    server.start()
    try:
        yield
    finally:
        server.settings = before
