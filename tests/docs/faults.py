"""What is wrong while a document's command runs: one table, each fault really injected and undone afterwards.

A comment before a block names one of them: `<!-- fault: database-gone -->`, or `<!-- after: question -->` where nothing is
wrong. Such a block has a server of its own; after
the block the fault is undone, and a server that was running has to be well again without a restart.
"""

import json
import resource
import secrets
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from tests.harness import ServerProcess, exchange

Fault = Callable[[ServerProcess], Iterator[None]]
WELL_SECONDS = 15


def exception(server: ServerProcess) -> Iterator[None]:
    """A bug: a handler raised something that nobody expected."""
    for _ in range(3):
        _get(server, "/test/faults/exception")
    server.wait_for("unhandled_exception", 3)
    yield


def question(server: ServerProcess) -> Iterator[None]:
    """Nothing is wrong: a visitor asked something, and quotes this Reference ID."""
    _ask(
        server,
        "/api/v1/chat",
        "POST",
        b'{"message": "How do I trace a request?"}',
        Content_Type="application/json",
        X_Request_ID="7d3f2b1c-8a4e-4c55-9d0e-2f6f1b9a3c10",
    )
    yield


def database_gone(server: ServerProcess) -> Iterator[None]:
    """The database's file is not where it was."""
    file = server.folder / "var" / "chatkit.db"
    away = file.with_suffix(".away")
    file.rename(away)
    _until_unready(server, "database_disconnected")
    yield
    file.unlink(missing_ok=True)  # what a curious program may have made in its place
    away.rename(file)


def database_damaged(server: ServerProcess) -> Iterator[None]:
    """The server is stopped, and the beginning of its database is not a database's."""
    server.stop()
    file = server.folder / "var" / "chatkit.db"
    whole = file.read_bytes()
    file.write_bytes(b"\0" * 4096 + whole[4096:])
    yield
    file.write_bytes(whole)


def log_not_writable(server: ServerProcess) -> Iterator[None]:
    """The disk takes no more: every write of the server fails, as with a full one."""
    assert server.process is not None
    _, hard = limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, hard))
    _get(server, "/health/live")
    _until_unready(server, "log_not_writable")
    yield
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)


def log_folder_blocked(server: ServerProcess) -> Iterator[None]:
    """The server is stopped, and a file stands where the log's folder should be."""
    server.stop()
    away = server.log_dir.with_name("log.away")
    server.log_dir.rename(away)
    server.log_dir.write_bytes(b"")
    yield
    server.log_dir.unlink()
    away.rename(server.log_dir)


def port_taken(server: ServerProcess) -> Iterator[None]:
    """The server is stopped, and another program listens on its port."""
    address = server.address
    server.stop()
    with socket.create_server(address):
        yield


def stopped(server: ServerProcess) -> Iterator[None]:
    """The server was stopped in an orderly way."""
    server.stop()
    yield


def killed(server: ServerProcess) -> Iterator[None]:
    """The server was killed, and nobody has started it again."""
    server.wait_for("server_started")
    server.kill()
    yield


def crashed(server: ServerProcess) -> Iterator[None]:
    """The server was killed and started again, as a supervisor does."""
    server.wait_for("server_started")
    server.kill()
    server.start()
    yield


def frozen(server: ServerProcess) -> Iterator[None]:
    """The process is there and does nothing."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    yield
    server.process.send_signal(signal.SIGCONT)


def loop_blocked(server: ServerProcess) -> Iterator[None]:
    """Some code held the event loop for a second."""
    _get(server, "/test/faults/busy?seconds=1")
    time.sleep(0.3)  # the loop notes its lag when it wakes
    yield


def slow(server: ServerProcess) -> Iterator[None]:
    """Some answers took long."""
    for _ in range(2):
        _get(server, "/test/faults/slow?seconds=1.2")
    yield


def garbage(server: ServerProcess) -> Iterator[None]:
    """A client sent what is not HTTP."""
    for _ in range(2):
        exchange(server.address, b"\x16\x03\x01 hello\r\n\r\n")
    server.wait_for("http_rejected", 2)
    yield


def foreign_page(server: ServerProcess) -> Iterator[None]:
    """A page that is not in CORS_ORIGINS embeds the widget."""
    for method in ("OPTIONS", "POST"):
        _ask(
            server,
            "/api/v1/chat/stream",
            method,
            Origin="https://blog.example.net",
            Access_Control_Request_Method="POST",
        )
    server.wait_for("cors_rejected", 2)
    yield


def no_documents(server: ServerProcess) -> Iterator[None]:
    """Nothing has been ingested."""
    server.stop()
    for name in ("chatkit.db", "chatkit.db-wal", "chatkit.db-shm"):
        (server.folder / "var" / name).unlink(missing_ok=True)
    server.start()
    yield


def plain_http(server: ServerProcess) -> Iterator[None]:
    """The server runs in production, and is asked without the proxy that ends TLS."""
    host, port = server.address
    server.stop()
    development = dict(server.settings)
    server.settings |= {
        "ENVIRONMENT": "production",
        "INTEGRATION_TEST_MODE": "false",
        "PORT": str(port),
        "SECRET_KEY": secrets.token_urlsafe(32),
        "DATABASE_URL": "sqlite+aiosqlite:///var/chatkit.db",
        "BASE_URL": "https://chat.example.com",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    server.start()
    server.url = f"http://{host}:{port}"  # it names the address that visitors use
    yield
    server.settings = development


FAULTS: dict[str, Fault] = {
    fault.__name__.replace("_", "-"): fault
    for fault in (
        crashed,
        database_damaged,
        database_gone,
        exception,
        foreign_page,
        frozen,
        garbage,
        killed,
        log_folder_blocked,
        log_not_writable,
        loop_blocked,
        no_documents,
        plain_http,
        port_taken,
        question,
        slow,
        stopped,
    )
}


@contextmanager
def injected(name: str, server: ServerProcess) -> Generator[None]:
    """The fault `name` within the block; afterwards a server that still runs must be well again."""
    steps = FAULTS[name](server)
    next(steps)
    try:
        yield
    finally:
        next(steps, None)
    _until_ready(server)


def _get(server: ServerProcess, path: str) -> bytes:
    return _ask(server, path, "GET")


def _ask(server: ServerProcess, path: str, method: str, body: bytes | None = None, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(server.url + path, data=body, headers=named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return bytes(refused.read())


def _reasons(server: ServerProcess) -> list[str]:
    return list(json.loads(_get(server, "/health/ready"))["reasons"])


def _until_unready(server: ServerProcess, reason: str) -> None:
    deadline = time.monotonic() + WELL_SECONDS
    while not any(found.startswith(reason) for found in _reasons(server)):
        assert time.monotonic() < deadline, f"the fault did not show as {reason}: {_reasons(server)}"
        time.sleep(0.1)


def _until_ready(server: ServerProcess) -> None:
    """Wait for a server that runs; one that the fault or the reader ended is nobody's to wait for."""
    assert server.process is not None
    deadline = time.monotonic() + WELL_SECONDS
    reasons = ["not asked yet"]
    while server.process.poll() is None and reasons:
        assert time.monotonic() < deadline, (
            f"the fault was undone and the server is still not well: {reasons}"
        )
        try:
            reasons = _reasons(server)
        except OSError as error:
            reasons = [str(error)]
        time.sleep(0.1 if reasons else 0)
