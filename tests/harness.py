"""A real server for the tests: a process of its own, in a folder of its own, on a free port."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline.reading.reader import lines
from tests.shared import IN_CI
from tests.system import which
from tests.waiting import ENOUGH_SECONDS, until

ROOT = Path(__file__).parents[1]

Event = dict[str, Any]


def needs(command: str) -> str:
    """The path of a program that a test starts; without it the test is left out and says so, in CI it fails."""
    path = which(command)
    if path is None:
        message = f"{command} is not on this machine; see `python tests/system.py install`"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)
    return path


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of ChatKit's, plus `settings`."""
    ours = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH"}
    kept = {name: value for name, value in os.environ.items() if name in ours}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | settings


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class ServerProcess:
    """`python -m server` in `folder`. `url` is where it listens once it has started."""

    pythonpath = str(ROOT)

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = {"PORT": "0", "INTEGRATION_TEST_MODE": "true"} | settings
        if settings.get("ENVIRONMENT") != "production":
            # All tests ask from one address; those of the limits turn them on.
            self.settings.setdefault("RATE_LIMITS", "false")
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.stderr = folder / "stderr.txt"

    @property
    def log_dir(self) -> Path:
        return self.folder / self.settings.get("LOG_DIR", "var/log")

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def command(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[bytes]":
        """Run `python -m ...` in the server's folder with its settings."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=clean_environment(**self.settings | settings),
            capture_output=True,
            timeout=120,
            check=False,
        )

    def start(self) -> "ServerProcess":
        """Start it and wait until it says where it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.stderr.open("ab") as stderr:
            seen = stderr.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server"],
                cwd=self.folder,
                env=clean_environment(**self.settings) | {"PYTHONPATH": self.pythonpath},
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,  # so that `kill` reaches its workers too
            )
        deadline = time.monotonic() + ENOUGH_SECONDS
        while time.monotonic() < deadline:
            said = self.stderr.read_bytes()[seen:]
            for line in said.splitlines():
                if b'"server_started"' in line:
                    self.url = json.loads(line)["listening"]
                    return self
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {said.decode()}")
            time.sleep(0.01)
        self.kill()
        raise AssertionError(f"the server did not start in {ENOUGH_SECONDS:.0f} s: {self.stderr.read_text()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(ENOUGH_SECONDS)

    def kill(self) -> None:
        """`kill -9`."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(ENOUGH_SECONDS)

    def damage_database(self) -> None:
        """Write over it while it is open.

        Not over its third file, -shm: that is memory which all open connections share, and who scribbles there breaks the process.
        """
        for name in ("chatkit.db", "chatkit.db-wal"):
            (self.folder / "var" / name).write_bytes(b"this is not a database at all" * 1000)

    def events(self, name: str | None = None, **fields: Any) -> list[Event]:
        """What the log holds: events of that name with those fields. Every line must parse."""
        found = []
        runs = self.process is not None and self.process.poll() is None
        for line in lines(self.log_dir):
            if line.fault == "torn" and runs:
                continue  # It is being written.
            assert line.fault is None, (
                f"{line.segment.name}:{line.offset} is {line.fault}: {line.raw[:200]!r}"
            )
            assert line.event is not None
            event = line.event
            if name in {None, event["event"]} and all(
                event.get(key) == value for key, value in fields.items()
            ):
                found.append(event)
        return found

    def wait_for(self, name: str, count: int = 1, **fields: Any) -> list[Event]:
        """The same, when there are at least `count` of them."""

        def enough() -> list[Event] | None:
            found = self.events(name, **fields)
            return found if len(found) >= count else None

        return until(enough, f"{count} {name} events with {fields}")


def with_documents(folder: Path, documents: Path) -> None:
    """Give the server that is to run in `folder` a copy of the database `documents`."""
    (folder / "var").mkdir(parents=True, exist_ok=True)
    (folder / "var" / "chatkit.db").write_bytes(documents.read_bytes())


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[ServerProcess]:
    """A started server that is stopped, or killed if it will not, at the end of the block."""
    server = ServerProcess(folder, **settings).start()
    try:
        yield server
        if server.process is not None and server.process.poll() is None:
            assert server.stop() == 0
    finally:
        server.kill()
    for line in server.stderr.read_bytes().splitlines() if server.stderr.exists() else []:
        json.loads(line)  # nothing but events: no trace, no print


class Answer:
    """A response as bytes came from a socket: `status`, `headers` (lower case), `body`, and `raw`."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *rest = head.split(b"\r\n")
        self.status = int(first.split()[1]) if first else 0
        self.headers: dict[str, str] = {}
        for line in rest:
            name, _, value = line.partition(b":")
            self.headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")

    def json(self) -> Any:
        return json.loads(self.body)


def exchange(address: tuple[str, int], request: bytes, seconds: float = ENOUGH_SECONDS) -> Answer:
    """Send `request` over a new connection and read until the server closes it."""
    with socket.create_connection(address, timeout=seconds) as connection:
        connection.sendall(request)
        received = bytearray()
        while True:
            try:
                chunk = connection.recv(65536)
            except (ConnectionResetError, TimeoutError):
                break
            if not chunk:
                break
            received += chunk
    return Answer(bytes(received))


def request_bytes(
    method: str, path: str, headers: Mapping[str, str | bytes] | None = None, body: bytes = b""
) -> bytes:
    """A request that asks the server to close the connection after it."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close"]
    for name, value in (headers or {}).items():
        lines.append(
            name.encode()
            + b": "
            + (value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass"))
        )
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chat_body(message: str) -> bytes:
    """The body of a question."""
    return json.dumps({"message": message}).encode()
