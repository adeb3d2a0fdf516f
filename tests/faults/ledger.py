"""Who emits, what was acknowledged, and the judgement over both: another process keeps the ledger, so no kill can take it along."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.reader import lines
from tests.harness import ROOT, clean_environment

LONG = os.environ.get("FAULTS") == "long"
"""Whether this is `make faults`, which breaks things hundreds of times; `make test` does it a few times."""


def times(short: int, long: int) -> int:
    """How often to break something."""
    return long if LONG else short


class Emitter:
    """A `tests.faults.emitter`, and the numbers that it acknowledged."""

    def __init__(
        self,
        folder: Path,
        state: Path,
        boot: str,
        first: int,
        *options: str,
        under: tuple[str, ...] = (),
        **environment: str,
    ) -> None:
        reading, writing = os.pipe()
        self._ledger = os.fdopen(reading, "rb", buffering=0)
        command = [sys.executable, "-m", "tests.faults.emitter", str(folder), str(state), boot, str(first)]
        self.process = subprocess.Popen(
            [*under, *command, str(writing), *options],
            cwd=ROOT,
            env=clean_environment() | environment,
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        os.close(writing)
        self._seen = b""

    def wait_for(self, count: int) -> None:
        """Until it acknowledged that many, or ended."""
        while len(self._seen) < 8 * count and (more := self._ledger.read(1 << 16)):
            self._seen += more

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()

    def acknowledged(self, seconds: float = 60) -> list[int]:
        """Wait for its end; the numbers that it acknowledged."""
        while more := self._ledger.read(1 << 16):
            self._seen += more
        self.process.communicate(timeout=seconds)
        self._ledger.close()
        whole = len(self._seen) // 8 * 8
        return [int.from_bytes(self._seen[at : at + 8], "little") for at in range(0, whole, 8)]


class Judged(NamedTuple):
    """What a log is found to hold."""

    numbers: Counter[int]
    """How often each number is in it, copies of one line (the same boot and seq) counted once."""
    copies: int
    """How many lines are there again."""
    torn: int
    damaged: int
    dropped: int
    """How many losses it tells of."""
    missing: list[tuple[str, int]]
    """(boot, seq) that no line has, within what the boot wrote."""
    events: list[dict[str, Any]]


def judged(folder: Path) -> Judged:
    """Read the log in `folder` and judge it."""
    events: dict[tuple[str, int], dict[str, Any]] = {}
    copies = torn = damaged = 0
    for line in lines(folder):
        torn += line.fault == "torn"
        damaged += line.fault == "damaged"
        if line.event is not None:
            key = line.event["boot"], line.event["seq"]
            copies += key in events
            events.setdefault(key, line.event)
    last: dict[str, int] = {}
    for boot, seq in events:
        last[boot] = max(last.get(boot, 0), seq)
    missing = [
        (boot, seq) for boot, end in last.items() for seq in range(1, end + 1) if (boot, seq) not in events
    ]
    found = list(events.values())
    dropped = sum(event["count"] for event in found if event["event"] == "events_dropped")
    numbers = Counter(event["n"] for event in found if event["event"] == "emitted")
    return Judged(numbers, copies, torn, damaged, dropped, missing, found)
