"""Calls fail in every way that disks know, in the middle of a line too: the log goes on, whole, and says since when it could not."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.segments import live_segments
from tests.faults.disks import new_disk
from tests.faults.ledger import Emitter, Judged, judged
from tests.harness import exchange, request_bytes, running


@contextmanager
def writes_failing(emitter: Emitter, log: Path, how: str) -> Iterator[None]:
    """Within the block writes to its present segment fail so."""
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(live_segments(log)[-1])]
    command += ["-p", str(emitter.process.pid), "-e", "trace=write", "-e", f"inject=write:{how}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as strace:
        try:
            yield
        finally:
            strace.terminate()


@pytest.mark.parametrize("error", ["EIO", "EROFS", "EDQUOT", "ENOSPC", "EINTR", "EBADF"])
def test_writes_that_fail_for_a_while_lose_nothing(tmp_path: Path, error: str) -> None:
    log = tmp_path / "log"
    options = ("--pause", "0.05", "--segment-bytes", "3000000", "--seconds", "2", "--burst", "5")
    with Emitter(log, tmp_path / "state", "failing", 1, *options) as emitter:
        emitter.wait_for(10)
        with writes_failing(emitter, log, f"error={error}:when=2..4"):
            entries = emitter.entries()
    assert emitter.process.returncode == 0, emitter.stderr
    found = judged(log)
    assert {n for n, _ in entries} <= found.numbers.keys()
    assert (found.missing, found.damaged, found.dropped) == ([], 0, 0)
    assert found.torn <= 1
    assert len(live_segments(log)) < 10
    outages = [event["errno"] for event in found.events if event["event"] == "log_write_resumed"]
    assert outages == ([] if error == "EINTR" else [error])


def test_without_another_try_the_same_harness_sees_the_loss(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = ("--pause", "0.05", "--segment-bytes", "3000000", "--seconds", "2", "--burst", "5")
    with Emitter(log, tmp_path / "state", "failing", 1, *options, "--without", "retrying") as emitter:
        emitter.wait_for(10)
        with writes_failing(emitter, log, "error=EIO:when=2..4"):
            emitter.entries()
    found = judged(log)
    assert len(found.missing) > found.dropped


def with_writes_cut_short(tmp_path: Path, *options: str) -> tuple[list[int], Judged]:
    """No file may be longer than so much: each write there is short first, and then refused."""
    log = tmp_path / "log"
    with Emitter(
        log, tmp_path / "state", "short", 1, "--seconds", "4", "--segment-bytes", "100000000", "--pause", "0.001",
        "--ring-bytes", "70000", *options, under=("prlimit", "--fsize=6000000:6000000"),
    ) as emitter:  # fmt: skip
        entries = emitter.acknowledged()
        assert emitter.process.returncode == 0, emitter.stderr
    return entries, judged(log)


def test_a_write_that_is_cut_short_goes_on_where_it_stopped(tmp_path: Path) -> None:
    entries, found = with_writes_cut_short(tmp_path)
    lost = set(entries) - found.numbers.keys()
    assert len(found.missing) == found.dropped >= len(lost)
    assert found.damaged == 0


def test_without_the_rest_the_same_harness_sees_half_a_line(tmp_path: Path) -> None:
    _, found = with_writes_cut_short(tmp_path, "--without", "short_writes")
    assert found.torn + found.damaged > 0
    assert len(found.missing) > found.dropped


def test_when_the_device_dies_the_server_answers_and_ends(tmp_path: Path) -> None:
    with new_disk(tmp_path / "image", "24M") as disk:
        settings = {"LOG_DIR": str(disk.place / "log"), "SHUTDOWN_SECONDS": "2"}
        with running(tmp_path / "server", **settings) as server:
            assert exchange(server.address, request_bytes("GET", "/nowhere")).status == 404
            disk.die()
            for _ in range(300):
                assert exchange(server.address, request_bytes("GET", "/nowhere")).status == 404
            ready = exchange(server.address, request_bytes("GET", "/health/ready"))
            assert ready.status == 503
            assert ready.json()["reasons"][0].startswith("log_not_writable: E")
            assert server.stop() == 1
    told = server.stderr.read_bytes()
    assert told.count(b'"log_write_failed"') == 1
    assert told.count(b"\n") < 10
    # A new disk: what the ring holds is not lost.
    with running(tmp_path / "server", LOG_DIR=str(tmp_path / "new")) as server:
        assert server.wait_for("events_recovered")
        assert len(server.events("http_request", recovered=True)) >= 300
