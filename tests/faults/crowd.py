"""A crowd with questions, in a process of its own.

    python -m tests.faults.crowd HOST PORT rate 1000 SECONDS        so many a second, whether they are answered or not: an open loop
    python -m tests.faults.crowd HOST PORT visitors 16 SECONDS      so many, each of whom asks again when answered: a closed loop

Each question comes from an address of its own. Prints one JSON array a line for each: when it was due and when it was answered (seconds since
the beginning), its status (0 for none in time), and what `Retry-After` said.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.harness import ROOT, ServerProcess

PATIENCE_SECONDS = 5.0
"""A visitor who has waited for so long has gone."""

MAX_OPEN = 900
"""So many may wait at a time; who finds no place counts as not answered, and the files of a machine suffice."""

QUESTIONS = ("How do I trace a request?", "What is a segment?", "Which settings are there?")


@dataclass
class Asked:
    """One question: seconds, the status, and the `Retry-After` of who was told to come back."""

    due: float
    answered: float
    status: int
    retry_after: int | None = None

    @property
    def seconds(self) -> float:
        """How long it took, from when it was due."""
        return self.answered - self.due

    @classmethod
    def of(cls, line: str) -> Self:
        """As it was printed."""
        return cls(*json.loads(line))


class Crowd:
    """Asks at one address."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._random = random.Random(20260101)
        self._waiting = 0
        self.asked: list[Asked] = []

    async def visitors(self, count: float, seconds: float) -> None:
        """So many, who ask one question after the other."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def visitor() -> None:
            while (due := loop.time() - began) < seconds:
                await self._visitor(began, due)

        await asyncio.gather(*(visitor() for _ in range(int(count))))
        self._leave()

    async def rate(self, rate: float, seconds: float) -> None:
        """So many a second; it is not over before the last has an answer or has gone."""
        loop = asyncio.get_running_loop()
        began, due, running = loop.time(), 0.0, set[asyncio.Task[None]]()
        while due < seconds:
            if (pause := began + due - loop.time()) > 0:
                await asyncio.sleep(pause)
            task = asyncio.create_task(self._visitor(began, due))
            running.add(task)
            task.add_done_callback(running.discard)
            due += self._random.expovariate(rate)
        await asyncio.gather(*running)
        self._leave()

    def _leave(self) -> None:
        for _, writer in self._idle:
            writer.close()

    async def _visitor(self, began: float, due: float) -> None:
        loop = asyncio.get_running_loop()
        status, retry_after = 0, None
        if self._waiting < MAX_OPEN:
            self._waiting += 1
            try:
                async with asyncio.timeout_at(began + due + PATIENCE_SECONDS):
                    status, retry_after = await self._exchange()
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                pass
            finally:
                self._waiting -= 1
        self.asked.append(Asked(due, loop.time() - began, status, retry_after))

    async def _exchange(self) -> tuple[int, int | None]:
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
        try:
            writer.write(self._request())
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            await reader.readexactly(int(fields[b"content-length"]))
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        told = fields.get(b"retry-after")
        return int(head.split(b" ", 2)[1]), None if told is None else int(told)

    def _request(self) -> bytes:
        body = json.dumps({"message": self._random.choice(QUESTIONS)}).encode()
        address = (
            f"10.{self._random.getrandbits(8)}.{self._random.getrandbits(8)}.{self._random.getrandbits(8)}"
        )
        return (
            b"POST /api/v1/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"X-Forwarded-For: %b\r\nContent-Length: %d\r\n\r\n%b" % (address.encode(), len(body), body)
        )


class Answers(list[Asked]):
    """What became of a crowd: for how many `seconds` it asked, and how many of a core the server spent on it."""

    seconds = core_seconds = 0.0

    @classmethod
    def to(cls, server: ServerProcess, loop: str, size: float, seconds: float) -> Self:
        """Let such a crowd ask `server`."""
        host, port = server.address
        command = [sys.executable, "-m", "tests.faults.crowd", host, str(port), loop, str(size), str(seconds)]
        before = _core_seconds(server)
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=100)
        answers = cls(map(Asked.of, done.stdout.splitlines()))
        answers.seconds = seconds
        answers.core_seconds = _core_seconds(server) - before
        return answers

    def add(self, others: "Answers") -> None:
        """And those of another crowd."""
        self.extend(others)
        self.seconds += others.seconds
        self.core_seconds += others.core_seconds

    def times(self, status: int) -> list[float]:
        """How long those with that status took, in seconds, the quickest first."""
        return sorted(one.seconds for one in self if one.status == status)

    def good(self, within: float = 2.0) -> "list[Asked]":
        """Those that were really answered, `within` so many seconds."""
        return [one for one in self if one.status == 200 and one.seconds <= within]

    def heard(self, within: float = 2.0) -> float:
        """Which part of the crowd heard something, an answer or when to come back, `within` so many seconds."""
        return sum(one.status in {200, 503} and one.seconds <= within for one in self) / len(self)

    def goodput(self) -> float:
        """How many of them there were a second."""
        return len(self.good()) / self.seconds

    def core_goodput(self) -> float:
        """How many of them there were in a second of a core: what others do on this machine does not count."""
        return len(self.good()) / self.core_seconds


def _core_seconds(server: ServerProcess) -> float:
    """User and system time of all its threads so far; see proc(5)."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Ask, then tell."""
    host, port, loop, size, seconds = sys.argv[1:]
    crowd = Crowd(host, int(port))
    ask = {"rate": crowd.rate, "visitors": crowd.visitors}[loop]
    asyncio.run(ask(float(size), float(seconds)))
    for one in sorted(crowd.asked, key=lambda one: one.due):
        print(json.dumps([round(one.due, 4), round(one.answered, 4), one.status, one.retry_after]))


if __name__ == "__main__":
    main()
