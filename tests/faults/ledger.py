"""Who emits, what was acknowledged, and the judgement over both: another process keeps the ledger, so no kill can take it along."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Self

from pipeline import index
from pipeline.blocks import BLOCK
from pipeline.reading.reader import lines
from pipeline.segments import live_segments
from tests.faults.emitter import ENTRY
from tests.harness import ROOT, clean_environment
from tests.waiting import ENOUGH_SECONDS

LONG = os.environ.get("FAULTS") == "long"
"""Whether this is `make faults`, which breaks things hundreds of times; `make test` does it a few times."""


def times(short: int, long: int) -> int:
    """How often to break something."""
    return long if LONG else short


class Entry(NamedTuple):
    """What became of one event: its number, negative when it was refused, and when (ns of the monotonic clock)."""

    number: int
    at: int


class Emitter:
    """A `tests.faults.emitter`, and its ledger. It is killed at the end of the block, whatever happens there."""

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
            start_new_session=True,  # so that `kill` reaches it through whatever it runs under
        )
        os.close(writing)
        self._seen = b""
        self.stderr = b""

    def wait_for(self, count: int) -> None:
        """Until its ledger has so many entries, or it ended."""
        while len(self._seen) < ENTRY.size * count and (more := self._ledger.read(1 << 16)):
            self._seen += more

    def read_for(self, seconds: float) -> None:
        """Keep the ledger for so long; nobody may leave it alone for longer than a pipe holds, or the emitter waits."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._ledger], [], [], left)[0]:
                more = self._ledger.read(1 << 16)
                self._seen += more
                if not more:
                    return

    def numbers(self) -> list[int]:
        """The numbers that are known to be acknowledged so far."""
        return [number for number, _ in self._entries() if number > 0]

    def refused(self) -> list[int]:
        """The numbers that are known to be refused so far."""
        return [-number for number, _ in self._entries() if number < 0]

    def _entries(self) -> list[Entry]:
        whole = len(self._seen) // ENTRY.size * ENTRY.size
        return [Entry(*entry) for entry in ENTRY.iter_unpack(self._seen[:whole])]

    def stop(self) -> None:
        """SIGTERM, to the emitter alone."""
        self.process.send_signal(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, through whatever it runs under."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """`kill -9`."""
        if self.process.poll() is None:
            self.send(signal.SIGKILL)

    def entries(self, seconds: float = ENOUGH_SECONDS) -> list[Entry]:
        """Wait for its end; its whole ledger."""
        if not self._ledger.closed:
            self.read_for(seconds)
            _, self.stderr = self.process.communicate(timeout=seconds)
            self._ledger.close()
        return self._entries()

    def acknowledged(self, seconds: float = ENOUGH_SECONDS) -> list[int]:
        """Wait for its end; the numbers that it acknowledged."""
        return [number for number, _ in self.entries(seconds) if number > 0]

    def told(self) -> list[dict[str, Any]]:
        """What it said on standard error, after its end: nothing but events."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.wait(ENOUGH_SECONDS)
        self._ledger.close()
        if self.process.stderr is not None:
            self.process.stderr.close()


class Judged(NamedTuple):
    """What a log is found to hold."""

    numbers: Counter[int]
    """How often each number is in it, copies of one line (the same boot and seq) counted once."""
    copies: int
    """How many lines are there again."""
    torn: int
    damaged: int
    """How many lines cannot be read, and how many segments are not what their index says."""
    dropped: int
    """How many losses it tells of."""
    missing: list[tuple[str, int]]
    """(boot, seq) that no line has, within what the boot wrote."""
    events: list[dict[str, Any]]


def judged(folder: Path) -> Judged:
    """Read the log in `folder` and judge it."""
    events: dict[tuple[str, int], dict[str, Any]] = {}
    torn = damaged = 0
    for line in lines(folder):
        torn += line.fault == "torn"
        damaged += line.fault == "damaged"
        if line.event is not None:
            events.setdefault((line.event["boot"], line.event["seq"]), line.event)
    copies = _whole_lines(folder) - len(events)  # the reader tells each event once
    last: dict[str, int] = {}
    for boot, seq in events:
        last[boot] = max(last.get(boot, 0), seq)
    missing = [
        (boot, seq) for boot, end in last.items() for seq in range(1, end + 1) if (boot, seq) not in events
    ]
    found = list(events.values())
    dropped = sum(event["count"] for event in found if event["event"] == "events_dropped")
    numbers = Counter(event["n"] for event in found if event["event"] == "emitted")
    damaged += sum(map(_is_misled, live_segments(folder)))
    return Judged(numbers, copies, torn, damaged, dropped, missing, found)


def _is_misled(segment: Path) -> bool:
    """Whether it has an index that can be believed and says something else of its bytes."""
    kept = index.load(segment)
    if kept is None:
        return False
    data = segment.read_bytes()
    built = index.index_blocks(data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
    return (kept.size, kept.checksums) != (built.size, built.checksums)


def _whole_lines(folder: Path) -> int:
    return sum(
        line.startswith(b"{") and line.endswith(b"}\n")
        for segment in live_segments(folder)
        for line in segment.read_bytes().splitlines(keepends=True)
    )
