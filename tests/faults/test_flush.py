"""A flush fails: it is never retried into belief, what it was to save is in another segment, and nobody is told a lie."""

import time
from pathlib import Path

import pytest

from pipeline.segments import MAX_LIVE, live_segments
from tests.faults.disks import strace
from tests.faults.ledger import Emitter, judged

ONE = "fdatasync:error=EIO:when=3"
EACH = "fdatasync:error=EIO:when=3+"


@pytest.mark.parametrize("durable", [(), ("--durable",)])
@pytest.mark.parametrize(("call", "error"), [("fdatasync", "EIO"), ("fsync", "EIO"), ("fdatasync", "ENOSPC")])
def test_what_a_failed_flush_was_to_save_is_in_the_next_segment(
    tmp_path: Path, call: str, error: str, durable: tuple[str, ...]
) -> None:
    when = "2" if call == "fdatasync" else "1"
    log, state = tmp_path / "log", tmp_path / "state"
    under = strace(f"{call}:error={error}:when={when}")
    with Emitter(
        log, state, "flush", 1, "--seconds", "1.9", "--pause", "0.05", *durable, under=under
    ) as emitter:
        entries = emitter.entries()
        assert emitter.process.returncode == 0, emitter.stderr
    found = judged(log)
    assert {number for number, _ in entries if number > 0} <= found.numbers.keys()
    assert (found.missing, found.damaged, found.torn, found.dropped) == ([], 0, 0, 0)
    assert [event["event"] for event in emitter.told()] == ["log_write_failed"]
    assert [event["errno"] for event in found.events if event["event"] == "log_write_resumed"] == [error]
    # Copies are only of what was not flushed, and of each at most one.
    assert 0 < found.copies <= (20 if durable else 600)


def test_without_writing_it_again_the_same_harness_finds_it_nowhere_else(tmp_path: Path) -> None:
    under = strace("fdatasync:error=EIO:when=2")
    options = ("--seconds", "1.9", "--pause", "0.05", "--without", "rewriting")
    with Emitter(tmp_path / "log", tmp_path / "state", "flush", 1, *options, under=under) as emitter:
        emitter.entries()
    found = judged(tmp_path / "log")
    assert [event["event"] for event in found.events].count("log_write_resumed") == 1
    assert found.copies == 0


@pytest.mark.parametrize("durable", [(), ("--durable",)])
def test_a_disk_that_never_flushes_is_no_flood_and_no_lie(tmp_path: Path, durable: tuple[str, ...]) -> None:
    log, state = tmp_path / "log", tmp_path / "state"
    began = time.monotonic_ns()
    with Emitter(
        log, state, "never", 1, "--seconds", "3", "--close-seconds", "2", *durable, under=strace(EACH)
    ) as emitter:
        entries = emitter.entries()
        assert emitter.process.returncode == 1, "what is not flushed is not called closed"
    assert len(live_segments(log)) <= 8
    assert [event["event"] for event in emitter.told()] == ["log_write_failed", "log_closed_early"]
    if durable:
        assert max(entry.at for entry in entries if entry.number > 0) - began < 2_000_000_000
        assert any(entry.number < 0 for entry in entries)
    Emitter(log, state, "after", 1, "--seconds", "0").entries()
    found = judged(log)
    lost = {number for number, _ in entries if number > 0} - found.numbers.keys()
    assert len(found.missing) == found.dropped >= len(lost), "what the ring had no room for is told"
    assert not (durable and lost)
    assert found.damaged == 0
    assert len(live_segments(log)) < MAX_LIVE
