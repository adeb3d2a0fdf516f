"""A real Redis for the tests: a process on a free port, without a disk, that can be killed and started again on the same port."""

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.harness import free_port, needs
from tests.waiting import ENOUGH_SECONDS


class RedisProcess:
    """`redis-server` in `folder`; `url` is where it listens on TCP, `socket` where on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.socket = folder / "redis.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "RedisProcess":
        """Start it, and wait until it answers."""
        command = [
            needs("redis-server"),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        command += [
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self._folder),
            "--logfile",
            str(self._folder / "redis.log"),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + ENOUGH_SECONDS
        while True:
            with suppress(OSError):
                if self.ask("PING") == "+PONG":
                    return self
            assert self._process.poll() is None, (self._folder / "redis.log").read_text()
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(ENOUGH_SECONDS)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within the block it is there, takes connections, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str) -> str:
        """What it answers to `command`, as the protocol has it (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=ENOUGH_SECONDS) as connection:
            connection.sendall(" ".join(command).encode() + b"\r\nQUIT\r\n")
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        return received.decode().removesuffix("+OK\r\n").rstrip("\r\n")

    def keys(self) -> list[str]:
        """The name of every key."""
        return [line for line in self.ask("KEYS", "*").splitlines() if not line.startswith(("*", "$"))]


@contextmanager
def redis_running() -> Iterator[RedisProcess]:
    """A Redis that is gone at the end of the block."""
    # Not in the test's own folder: the path of a Unix socket may have no more than a hundred characters.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        redis = RedisProcess(Path(folder))
        redis.start()
        try:
            yield redis
        finally:
            redis.kill()
