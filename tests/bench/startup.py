"""What a start costs: from the command to ready, and the memory at rest; beside it what the interpreter and the imports take.

    python -m tests.bench.startup

Each round starts the interpreter alone, the interpreter with each group of libraries, and the server, one after the other, so
that what else the machine does falls on all alike. Ready means that `/health/ready` answers 200. The promises: at most
1.5 s, and at most 120 MB; and with a gigabyte of old log, at most a second.
"""

import http.client
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.harness import ROOT, ServerProcess, clean_environment
from tests.oldlog import write_old_log

ROUNDS = 7
REST_SECONDS = 1.0
PROMISED_SECONDS = 1.5
PROMISED_MEGABYTES = 120.0
OLD_BYTES = 1_000_000_000
PROMISED_SECONDS_WITH_OLD = 1.0

# What is imported on the way, from the least to the most: each row holds those above it.
IMPORTS = {
    "the interpreter": "pass",
    "+ aiohttp, uvloop, orjson": "import aiohttp.web, uvloop, orjson",
    "+ pydantic and settings": "import aiohttp.web, uvloop, orjson, server.settings",
    "+ SQLAlchemy": "import aiohttp.web, uvloop, orjson, server.settings, sqlalchemy.ext.asyncio, sqlalchemy.dialects.sqlite.aiosqlite",
    "+ the whole server": "import uvloop, server.app, sqlalchemy.ext.asyncio, sqlalchemy.dialects.sqlite.aiosqlite",
}


def imported(code: str) -> tuple[float, float]:
    """Seconds and megabytes of an interpreter that runs `code` and ends."""
    program = f"{code}\nprint(open('/proc/self/statm').read())"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - started, _megabytes(done.stdout)


def started(server: ServerProcess) -> tuple[float, float]:
    """Seconds from the command until the server is ready, and its megabytes at rest."""
    began = time.perf_counter()
    server.start()
    while not _ready(server):
        time.sleep(0.002)
    seconds = time.perf_counter() - began
    time.sleep(REST_SECONDS)
    assert server.process is not None
    return seconds, _megabytes(Path(f"/proc/{server.process.pid}/statm").read_text())


def _megabytes(statm: str) -> float:
    """The resident memory of a process, from its /proc/PID/statm (pages; see proc(5))."""
    return int(statm.split()[1]) * resource.getpagesize() / (1 << 20)


def _ready(server: ServerProcess) -> bool:
    connection = http.client.HTTPConnection(*server.address, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def measure(folder: Path, rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """Row → (seconds, megabytes), medians."""
    servers = {
        "the server, ready": ServerProcess(folder / "new", INTEGRATION_TEST_MODE="false"),
        "the server, with 1 GB of log": ServerProcess(folder / "old", INTEGRATION_TEST_MODE="false"),
    }
    write_old_log(folder / "old" / "var" / "log", OLD_BYTES)
    for server in servers.values():
        server.start()  # The first start makes the database; every later one finds it.
        server.stop()
    taken: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            taken.setdefault(name, []).append(imported(code))
        for name, server in servers.items():
            taken.setdefault(name, []).append(started(server))
            server.stop()
    return {
        name: (statistics.median(seconds for seconds, _ in rows), statistics.median(size for _, size in rows))
        for name, rows in taken.items()
    }


def table(rows: dict[str, tuple[float, float]]) -> str:
    """The figures for people."""
    seconds, megabytes = rows["the server, ready"]
    with_old, _ = rows["the server, with 1 GB of log"]
    lines = [f"{'':28}{'time':>10}{'memory':>10}"]
    lines += [f"{name:28}{took:8.2f} s{size:7.0f} MB" for name, (took, size) in rows.items()]
    lines.append(f"{'promised at most':28}{PROMISED_SECONDS:8.2f} s{PROMISED_MEGABYTES:7.0f} MB")
    lines.append(f"{'promised at most, 1 GB':28}{PROMISED_SECONDS_WITH_OLD:8.2f} s")
    within = seconds <= PROMISED_SECONDS and megabytes <= PROMISED_MEGABYTES
    kept = within and with_old <= PROMISED_SECONDS_WITH_OLD
    lines.append(f"kept: {'yes' if kept else 'NO'}")
    return "\n".join(lines)


def main() -> dict[str, tuple[float, float]]:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder))
    print(table(rows))
    return rows


if __name__ == "__main__":
    main()
