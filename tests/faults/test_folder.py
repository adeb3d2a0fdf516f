"""The log's folder is deleted, renamed, made read-only, or has no room for another name: the log goes on, and says what happened."""

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from pipeline.reading.reader import lines
from pipeline.segments import live_segments
from tests.faults.disks import filled, new_disk, strace, tmpfs
from tests.faults.ledger import Emitter, judged


def numbers(folder: Path) -> set[int]:
    """What is in the segments of `folder`."""
    events = (line.event for line in lines(folder))
    return {event["n"] for event in events if event is not None and "n" in event}


def renamed(log: Path) -> None:
    log.rename(log.with_name("elsewhere"))


def deleted(log: Path) -> None:
    shutil.rmtree(log)


def emptied(log: Path) -> None:
    for segment in live_segments(log):
        segment.unlink()


@pytest.mark.parametrize("gone", [deleted, renamed, emptied])
@pytest.mark.parametrize("durable", [(), ("--durable",)])
def test_after_the_folder_is_gone_nothing_of_the_last_second_is(
    tmp_path: Path, gone: Callable[[Path], None], durable: tuple[str, ...]
) -> None:
    log = tmp_path / "log"
    options = ("--segment-bytes", "10000000", "--pause", "0.01", "--burst", "5", *durable)
    with Emitter(log, tmp_path / "state", "folder", 1, *options) as emitter:
        emitter.wait_for(100)
        before = numbers(log)
        moment = time.monotonic_ns()
        gone(log)
        emitter.read_for(1.7)
        emitter.stop()
        entries = emitter.entries()
        assert emitter.process.returncode == 0, emitter.stderr
    found = judged(log)
    # A second before it had gone: what was flushed to it by then went with it.
    since = moment if durable else moment - 100_000_000
    assert {n for n, at in entries if at >= since} <= found.numbers.keys()
    everything = before | found.numbers.keys()
    assert {n for n, _ in entries} <= everything | numbers(log.with_name("elsewhere")), (
        "a shipper that follows saw all"
    )
    assert (found.damaged, found.torn, found.copies) == (0, 0, 0)
    assert [event["event"] for event in found.events].count("segment_vanished") == 1
    assert all(segment.read_bytes().startswith(b'{"timestamp"') for segment in live_segments(log))


def test_without_the_look_at_its_name_the_same_harness_sees_what_went_with_the_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = ("--segment-bytes", "10000000", "--pause", "0.01", "--burst", "5", "--without", "looking")
    with Emitter(log, tmp_path / "state", "folder", 1, *options) as emitter:
        emitter.wait_for(100)
        moment = time.monotonic_ns()
        emptied(log)
        emitter.read_for(1.7)
        emitter.stop()
        entries = emitter.entries()
    assert not {n for n, at in entries if at >= moment} <= judged(log).numbers.keys()


def test_without_a_free_inode_the_segment_stays_in_use(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "8m", inodes=12) as disk:
        log = disk / "log"
        with Emitter(
            log, tmp_path / "state", "inodes", 1, "--segment-bytes", "20000", "--pause", "0.01"
        ) as emitter:
            emitter.read_for(4)
            emitter.stop()
            entries = emitter.acknowledged()
            assert emitter.process.returncode == 0, emitter.stderr
        found = judged(log)
        assert set(entries) <= found.numbers.keys()
        assert (found.missing, found.damaged, found.torn, found.copies) == ([], 0, 0, 0)
        assert 3 < len(live_segments(log)) < 12
        told = [event for event in found.events if event["event"] == "rotation_postponed"]
        assert [event["errno"] for event in told] == ["ENOSPC"]
        assert emitter.told() == []


def test_without_postponing_the_same_harness_sees_an_outage(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "8m", inodes=12) as disk:
        options = ("--segment-bytes", "20000", "--pause", "0.01", "--without", "postponing")
        with Emitter(disk / "log", tmp_path / "state", "inodes", 1, *options) as emitter:
            emitter.read_for(4)
            emitter.kill()
            emitter.entries()
        assert {event["event"] for event in emitter.told()} == {"log_write_failed"}


def test_a_flush_that_fails_when_no_inode_is_free_costs_nothing_but_the_reserve(tmp_path: Path) -> None:
    """The segment that it needs gets the reserve's."""
    with tmpfs(tmp_path / "disk", "8m", inodes=12) as disk:
        log = disk / "log"
        under = strace("fdatasync:error=EIO:when=3")
        options = ("--segment-bytes", "10000000", "--pause", "0.05", "--burst", "5", "--seconds", "4")
        with Emitter(log, tmp_path / "state", "flush", 1, *options, under=under) as emitter:
            emitter.wait_for(1)
            others = no_inode_left(disk)
            entries = emitter.acknowledged()
            assert emitter.process.returncode == 0, emitter.stderr
        found = judged(log)
        assert others > 3
        assert set(entries) <= found.numbers.keys()
        assert (found.missing, found.damaged, found.dropped) == ([], 0, 0)
        told = [event["errno"] for event in found.events if event["event"] == "log_write_resumed"]
        assert told == ["EIO"]
        assert len(live_segments(log)) == 2


def no_inode_left(disk: Path) -> int:
    """Take every inode that is free; how many there were."""
    with suppress(OSError):
        for number in count():
            (disk / f"other-{number}").touch()
    return number


def test_while_the_folder_takes_no_new_file_the_segment_stays_in_use(tmp_path: Path) -> None:
    with new_disk(tmp_path / "image", "24M") as disk:
        log = disk.place / "log"
        with Emitter(
            log, tmp_path / "state", "fixed", 1, "--segment-bytes", "20000", "--pause", "0.01"
        ) as emitter:
            emitter.wait_for(10)
            subprocess.run(["chattr", "+i", log], check=True)
            try:
                emitter.read_for(1)
                segments = len(live_segments(log))
                emitter.read_for(1)
                assert len(live_segments(log)) == segments
            finally:
                subprocess.run(["chattr", "-i", log], check=True)
            emitter.read_for(0.2)
            emitter.stop()
            entries = emitter.acknowledged()
            assert emitter.process.returncode == 0, emitter.stderr
        found = judged(log)
        assert set(entries) <= found.numbers.keys()
        assert (found.missing, found.damaged, found.torn, found.copies) == ([], 0, 0, 0)
        assert [event["errno"] for event in found.events if event["event"] == "rotation_postponed"] == [
            "EPERM"
        ]


def test_a_segment_that_could_not_begin_leaves_no_gap_in_the_numbers(tmp_path: Path) -> None:
    """There is room for its name and none for its first line, while the one before has room left in its last block."""
    with tmpfs(tmp_path / "disk", "1m") as disk:
        log = disk / "log"
        options = ("--segment-bytes", "2000", "--pause", "0.1", "--burst", "1", "--seconds", "3")
        with Emitter(log, tmp_path / "state", "begin", 1, *options) as emitter:
            emitter.wait_for(3)
            with filled(disk):
                emitter.read_for(1.0)
            entries = emitter.acknowledged()
            assert emitter.process.returncode == 0, emitter.stderr
        found = judged(log)
        assert set(entries) <= found.numbers.keys()
        assert (found.missing, found.damaged, found.torn, found.copies) == ([], 0, 0, 0)
        assert [event["errno"] for event in found.events if event["event"] == "rotation_postponed"] == [
            "ENOSPC"
        ]
