"""The disk hangs: who asks notices nothing, memory stays bounded, a stop ends, and all of it is in the log afterwards."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.reading.reader import lines
from tests.faults.disks import Disk, new_disk
from tests.faults.ledger import times
from tests.faults.load import under_load
from tests.harness import ServerProcess, exchange, request_bytes, running
from tests.waiting import ENOUGH_SECONDS, until

LAG_MS = 100
MEMORY_BYTES = 20 << 20

WRITES_IN_ITS_LOOP = """
import asyncio, os, sys, time
async def main():
    file, worst, end = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 0.0, time.monotonic() + 2.5
    print("started", flush=True)
    while time.monotonic() < end:
        began = time.monotonic()
        os.write(file, b"a line\\n")
        await asyncio.sleep(0.01)
        worst = max(worst, time.monotonic() - began - 0.01)
    print(worst * 1000)
asyncio.run(main())
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with new_disk(tmp_path / "image") as mounted:
        yield mounted


def logged(folder: Path) -> list[str]:
    """The ID of each request that the log has."""
    return [
        line.event["request_id"]
        for line in lines(folder)
        if line.event is not None and line.event["event"] == "http_request"
    ]


def asked(server: ServerProcess, count: int, name: str) -> list[str]:
    """The IDs of requests that were answered."""
    ids = [f"{name}-{number}" for number in range(count)]
    for one in ids:
        answer = exchange(server.address, request_bytes("GET", "/nowhere", {"X-Request-ID": one}))
        assert answer.status == 404
    return ids


def rss_bytes(server: ServerProcess) -> int:
    assert server.process is not None
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


def readiness(server: ServerProcess) -> tuple[int, list[str]]:
    answer = exchange(server.address, request_bytes("GET", "/health/ready"))
    return answer.status, answer.json()["reasons"]


def state_of(server: ServerProcess) -> str:
    """`Z` once it has exited, although a thread that nothing can end still holds it."""
    assert server.process is not None
    return Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_while_the_disk_hangs_everybody_is_answered_in_time(tmp_path: Path, disk: Disk) -> None:
    with running(tmp_path / "server", LOG_DIR=str(disk.place / "log"), LOG_RING_BYTES="1000000") as server:
        with under_load(server, "/nowhere", "/health/live") as load:
            time.sleep(1)
            before, hung = rss_bytes(server), time.monotonic()
            with disk.hanging():
                ids = asked(server, 20, "hung")
                time.sleep(times(4, 10))
                unready = 503, ["log_not_writable: ETIMEDOUT"]
                until(lambda: readiness(server) == unready, "it says why it is not ready")
                over = time.monotonic()
                assert rss_bytes(server) - before < MEMORY_BYTES
            time.sleep(1)
        until(lambda: readiness(server) == (200, []))
        assert server.wait_for("log_write_resumed", errno="ETIMEDOUT")
        assert server.stop() == 0
        found = server.events()
    assert set(load.statuses()) == {("/nowhere", 404), ("/health/live", 200)}
    assert load.p99_ms(hung, over) < LAG_MS
    assert set(ids) <= {event["request_id"] for event in found}
    numbers = {event["seq"] for event in found}
    dropped = sum(event["count"] for event in found if event["event"] == "events_dropped")
    assert max(numbers) - len(numbers) == dropped > 0


def test_what_writes_in_its_loop_stands_still(disk: Disk) -> None:
    command = [sys.executable, "-c", WRITES_IN_ITS_LOOP, str(disk.place / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        with disk.hanging():
            time.sleep(1)
        worst = float(process.stdout.readline())
    assert worst > 5 * LAG_MS


def test_a_stop_ends_though_the_disk_hangs_and_the_next_start_has_it_all(tmp_path: Path, disk: Disk) -> None:
    settings = {"LOG_DIR": str(disk.place / "log"), "SHUTDOWN_SECONDS": "2"}
    server = ServerProcess(tmp_path / "server", **settings).start()
    assert server.process is not None
    try:
        ids = asked(server, 20, "before")
        with disk.hanging():
            ids += asked(server, 20, "hung")
            server.process.send_signal(signal.SIGTERM)
            until(lambda: state_of(server) == "Z", "it has ended though the disk hangs")
        assert server.process.wait(ENOUGH_SECONDS) == 1
    finally:
        server.kill()
    told = [json.loads(line)["event"] for line in server.stderr.read_bytes().splitlines()]
    assert "log_closed_early" in told
    with running(tmp_path / "server", **settings) as again:
        assert again.wait_for("events_recovered")
    assert sorted(one for one in logged(disk.place / "log") if one in ids) == sorted(ids)
