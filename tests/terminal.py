"""The server on a terminal of its own, as a developer starts it."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness import clean_environment
from tests.waiting import ENOUGH_SECONDS


@contextmanager
def serving_on_a_terminal(folder: Path) -> Iterator[Callable[[bytes], bytes]]:
    """A function that waits for a whole line with `mark` in it and gives all that was shown. In the end comes a Ctrl-C, and exit 0."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "server"],
        cwd=folder,
        env=clean_environment(PORT="0", TERM="dumb"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""

    def shown_until(mark: bytes) -> bytes:
        nonlocal shown
        while mark not in shown or not shown.endswith(b"\n"):
            shown += os.read(master, 65536)
        return shown

    try:
        yield shown_until
        process.send_signal(signal.SIGINT)
        assert process.wait(ENOUGH_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
