"""What it takes to find one request in a log of 1 GB, beside ripgrep and grep; and what its indexes cost.

    python -m tests.bench.trace

The log is written by the real event log, in segments of the usual size. Each contender is a whole process, from its start to
its end, and all of the log is in the page cache. What they find is compared. What the indexes cost is measured apart, on batches as the writer has them: the log's lines go through a ring,
and what is done with them for the index alone is done again. So is what a reader, or the next start, pays for a segment without one.
"""

import asyncio
import itertools
import random
import re
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

import server.middleware.access  # noqa: F401 - declares `http_request`
from pipeline import index
from pipeline.checksum import hash_of
from pipeline.context import Request, bound
from pipeline.eventlog import EventLog
from pipeline.log import log
from pipeline.ring import Ring
from pipeline.segments import index_of, live_segments
from tests.bench.contest import Figures, Promise, interleaved, medians, ratio, report, table, told
from tests.bench.emit import ALWAYS, SLICE, entries
from tests.harness import ROOT, clean_environment
from tests.system import apt_install, can_install, which

ROUNDS = 15
BATCH = 300
RING_BYTES = 8 << 20
INFO = 20
LOG_BYTES = 1 << 30
DIFFERENT = 20_000
"""How many events are made up; in each pass over them every request has another ID."""


async def write(folder: Path) -> list[str]:
    """Fill `folder` with `LOG_BYTES` of log; some of the requests in it."""
    made = list(entries(random.Random(20260101), DIFFERENT))
    log.identify(boot=ALWAYS["boot"], version=ALWAYS["version"], config=ALWAYS["config"])
    events = await EventLog(folder).open()
    known: list[str] = []
    for number in itertools.count():
        start = number * SLICE % DIFFERENT
        for made_id, fields in made[start : start + SLICE]:
            with bound(Request(f"{number:08x}{made_id[8:]}")):
                log.info("http_request", **fields)
        known.append(f"{number:08x}{made[start][0][8:]}")
        # The writer must keep up: a loss would make the log smaller than it says.
        while events.status().ring_used_bytes > events.status().ring_bytes // 4:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0)
        if number % 50 == 0 and sum(path.stat().st_size for path in live_segments(folder)) >= LOG_BYTES:
            break
    assert await events.close(60)
    assert events.status().dropped == 0
    return known


def contenders(folder: Path, wanted: Sequence[str]) -> dict[str, Callable[[], Figures]]:
    """Ways to find a request; each looks for all of `wanted` in turn, one a round."""
    segments = [str(path) for path in live_segments(folder)]
    found: dict[str, bytes] = {}
    trace = [sys.executable, "-m", "pipeline", "trace", "--log-dir", str(folder)]
    commands: dict[str, Callable[[str], list[str]]] = {
        "python -m pipeline trace": lambda request_id: [*trace, request_id],
        "ripgrep": lambda request_id: ["rg", "-F", "--no-filename", request_id, *segments],
        "grep -F": lambda request_id: ["grep", "-F", "-h", request_id, *segments],
        "python -c pass": lambda _: [sys.executable, "-c", "pass"],
    }

    def contender(name: str) -> Callable[[], Figures]:
        left = iter(wanted)

        def find() -> Figures:
            request_id = next(left)
            started = time.perf_counter()
            done = subprocess.run(
                commands[name](request_id),
                cwd=ROOT,
                env=clean_environment(),
                stdout=subprocess.PIPE,
                check=True,
            )
            taken = time.perf_counter() - started
            if name != "python -c pass":
                assert request_id.encode() in done.stdout
                assert found.setdefault(request_id, done.stdout) == done.stdout, name
            return {"ms": taken * 1e3}

        return find

    return {name: contender(name) for name in commands}


def indexes(folder: Path) -> Figures:
    """What the indexes of the log cost: CPU seconds for each million events, and their size in percent of the log."""
    segments = live_segments(folder)
    size = sum(path.stat().st_size for path in segments)
    percent = sum(index_of(path).stat().st_size for path in segments) / size * 100
    count, growing = 0, 0.0
    for segment in segments:
        lines = segment.read_bytes().splitlines(keepends=True)
        count += len(lines)
        growing += grown(lines, folder / "grown.idx")
    began = time.process_time()
    for segment in segments:
        index.build(segment)
    built = time.process_time() - began
    return {
        "events": count,
        "log_mb": size / 1e6,
        "growing_cpu_s_per_million": growing / count * 1e6,
        "built_cpu_s_per_million": built / count * 1e6,
        "percent": percent,
    }


def grown(lines: list[bytes], path: Path) -> float:
    """The CPU seconds that an index of these lines takes whoever writes them: the hash of each ID, and the rest in batches."""
    ids = re.findall(rb'"request_id":"([^"]+)', b"".join(lines))
    began = time.process_time()
    for request_id in ids:
        hash_of(request_id)
    spent = time.process_time() - began
    ring, growing = Ring(RING_BYTES, {INFO: 1.0}), index.Growing()
    for at in range(0, len(lines), BATCH):
        start, first = ring.place, ring.head + 1
        for line in lines[at : at + BATCH]:
            ring.put(line, INFO, 1)
        began = time.process_time()
        ends, hashes = ring.lines(first, ring.head)
        for part in ring.between(start, ring.place):
            growing.wrote(part)
        growing.lines(array("Q", [start]) + ends[:-1], 0, hashes)
        spent += time.process_time() - began
        ring.release(ring.head)
    began = time.process_time()
    index.save(growing.index(), path)
    spent += time.process_time() - began
    path.unlink()
    return spent


def main() -> dict[str, Any]:
    """Measure and print."""
    if which("rg") is None:
        if not can_install():
            sys.exit("This bench needs ripgrep: sudo apt-get install ripgrep")
        apt_install(["ripgrep"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            known = runner.run(write(folder))
        cost = indexes(folder)
        rounds = interleaved(contenders(folder, random.sample(known, ROUNDS)), ROUNDS)
    rows = medians(rounds)
    promises = [
        Promise("trace / ripgrep", ratio(rounds, "ms", "python -m pipeline trace", "ripgrep"), 1),
        Promise("index, CPU s per million events", cost["growing_cpu_s_per_million"], 0.3),
        Promise("index, % of the log", cost["percent"], 1.5),
    ]
    print(f"{cost['events']:,.0f} events, {cost['log_mb']:,.0f} MB")
    print(f"an index built from the file, CPU s per million events: {cost['built_cpu_s_per_million']:.2f}")
    print(table(rows, {"ms": "whole process, ms"}), told(promises), sep="\n\n")
    return report(rows | {"index": cost}, promises)


if __name__ == "__main__":
    main()
