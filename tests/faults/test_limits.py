"""No file, no thread, no memory to be had, or the process is stopped: it comes through, and the log is not flooded with it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.ledger import Emitter, judged, times
from tests.faults.load import under_load
from tests.harness import exchange, request_bytes, running
from tests.waiting import until

FLOOD = 20
"""Events a second that an exhausted resource may cause, beside those of requests."""


@contextmanager
def cgroup(kind: str, limit_file: str, limit: str) -> Iterator[Path]:
    """A control group of that kind, in either version's place for it."""
    root = Path("/sys/fs/cgroup")
    group = (root / kind if (root / kind).is_dir() else root) / f"chatkit-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit_file).write_text(limit)
        yield group
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), "all who were in it have ended")
        group.rmdir()


def within(group: Path) -> tuple[str, ...]:
    """Run it in that control group."""
    return "sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"


def limit_files(pid: int, count: int) -> None:
    """From now on that process may have so many open."""
    subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={count}:1024"], check=True)


def test_with_no_file_to_be_had_the_log_goes_on_and_is_not_flooded(tmp_path: Path) -> None:
    with running(tmp_path, LOG_SEGMENT_BYTES="65536") as server, ExitStack() as stack:
        assert server.process is not None
        limit_files(server.process.pid, len([*Path(f"/proc/{server.process.pid}/fd").iterdir()]) + 4)
        began = time.monotonic()
        for _ in range(30):
            stack.enter_context(socket.create_connection(server.address, timeout=5))
        time.sleep(times(3, 20))
        seconds = time.monotonic() - began
        stack.close()
        limit_files(server.process.pid, 1024)
        until(lambda: exchange(server.address, request_bytes("GET", "/health/ready")).status == 200)
        assert server.stop() == 0
        found = server.events()
    noise = [event for event in found if event["event"] not in {"http_request", "segment_opened"}]
    assert len(noise) < 20 + FLOOD * seconds
    assert len(server.stderr.read_bytes().splitlines()) < 20
    assert sorted(event["seq"] for event in found) == list(range(1, len(found) + 1))


def test_a_segment_waits_for_a_file_and_nothing_else_does(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Emitter(
        log, tmp_path / "state", "files", 1, "--segment-bytes", "20000", "--pause", "0.01"
    ) as emitter:
        emitter.wait_for(50)
        pid = emitter.process.pid
        limit_files(pid, 3)
        emitter.read_for(1.5)
        limit_files(pid, 1024)
        emitter.read_for(0.3)
        emitter.stop()
        entries = emitter.acknowledged()
        assert emitter.process.returncode == 0, emitter.stderr
    found = judged(log)
    assert set(entries) <= found.numbers.keys()
    assert (found.missing, found.damaged, found.torn, found.copies) == ([], 0, 0, 0)
    assert [event["errno"] for event in found.events if event["event"] == "rotation_postponed"] == ["EMFILE"]


def test_the_limit_on_threads_is_one(tmp_path: Path) -> None:
    code = "import sys, threading; sys.stdin.read(1); threading.Thread().start()"
    with cgroup("pids", "pids.max", "max") as group:
        command = [*within(group), sys.executable, "-c", code]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(0.5)
            (group / "pids.max").write_text("1")
            _, told = process.communicate(b"x")
    assert b"can't start new thread" in told


def test_with_no_thread_to_be_had_nothing_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with cgroup("pids", "pids.max", "max") as group:
        with Emitter(log, tmp_path / "state", "threads", 1, "--seconds", "2", "--segment-bytes", "20000", "--pause", "0.01", under=within(group)) as emitter:  # fmt: skip
            emitter.wait_for(1)
            (group / "pids.max").write_text("1")
            entries = emitter.acknowledged()
        assert emitter.process.returncode == 0, emitter.stderr
    found = judged(log)
    assert set(entries) <= found.numbers.keys()
    assert (found.missing, found.damaged, found.dropped) == ([], 0, 0)
    assert emitter.told() == []


def test_what_the_kernel_kills_for_want_of_memory_loses_nothing(tmp_path: Path) -> None:
    log, state = tmp_path / "log", tmp_path / "state"
    limit = "memory.limit_in_bytes" if Path("/sys/fs/cgroup/memory").is_dir() else "memory.max"
    with cgroup("memory", limit, "200M") as group:
        with Emitter(log, state, "memory", 1, "--pause", "0.01", "--eat", under=within(group)) as emitter:
            entries = emitter.acknowledged()
        assert emitter.process.returncode == -signal.SIGKILL, "it was killed"
    with Emitter(log, state, "after", 1_000_000, "--seconds", "0") as after:
        after.entries()
        assert after.process.returncode == 0
    found = judged(log)
    assert entries
    assert set(entries) <= found.numbers.keys()
    assert (found.missing, found.damaged, found.copies) == ([], 0, 0)


def test_a_process_that_was_stopped_raises_no_alarm(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.process is not None
        with under_load(server, "/nowhere", "/health/ready") as load:
            time.sleep(1)
            server.process.send_signal(signal.SIGSTOP)
            try:
                time.sleep(times(4, 30))
            finally:
                server.process.send_signal(signal.SIGCONT)
            time.sleep(1.5)
        server.wait_for("heartbeat")
        assert server.stop() == 0
        found = server.events()
    assert set(load.statuses()) == {("/nowhere", 404), ("/health/ready", 200)}
    alarms = [event for event in found if event["level"] in {"WARNING", "ERROR"}]
    assert alarms == []
    (beat, *_) = [event for event in found if event["event"] == "heartbeat"]
    assert beat["loop_lag_ms"] > 3_000, "the gap is there to be seen"
    assert beat["clock_drift_ms"] < 1_000
