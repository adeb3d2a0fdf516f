"""A full disk: nobody who asks notices, errors and the record of what was lost still fit, and writing resumes by itself."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.segments import live_segments
from tests.faults.disks import filled, tmpfs
from tests.faults.ledger import Emitter, judged, times
from tests.faults.load import under_load
from tests.harness import exchange, request_bytes, running
from tests.waiting import ENOUGH_SECONDS

NOISE_MS = 10
"""What a percentile may differ by for no reason but the machine's."""


def errors_in(log: Path) -> int:
    """How many errors have been written."""
    return sum(segment.read_bytes().count(b'"event":"unhandled_exception"') for segment in live_segments(log))


def until_resumed(log: Path, meanwhile: Callable[[float], None] = time.sleep) -> None:
    """Until the log says that it is written again."""
    deadline = time.monotonic() + ENOUGH_SECONDS
    while not any(b'"log_write_resumed"' in segment.read_bytes() for segment in live_segments(log)):
        assert time.monotonic() < deadline, "it is not written again"
        meanwhile(0.1)


def test_a_full_disk_is_no_matter_of_those_who_ask(tmp_path: Path) -> None:
    seconds = times(5, 60)
    with (
        tmpfs(tmp_path / "disk", "16m") as disk,
        running(tmp_path / "server", LOG_DIR=str(disk / "log"), LOG_RING_BYTES="262144") as server,
        under_load(server, "/nowhere", "/health/live", "/openapi.json", "/test/faults/exception") as load,
    ):
        time.sleep(3)
        full = time.monotonic()
        with filled(disk):
            errors_before = errors_in(disk / "log")
            time.sleep(seconds)
            ready = exchange(server.address, request_bytes("GET", "/health/ready"))
            assert (ready.status, ready.json()["reasons"]) == (503, ["log_not_writable: ENOSPC"])
            errors_written = errors_in(disk / "log") - errors_before
        freed = time.monotonic()
        until_resumed(disk / "log")
        assert exchange(server.address, request_bytes("GET", "/health/ready")).status == 200
        load.stop()
        assert server.stop() == 0
        found = judged(disk / "log")
    assert load.statuses().keys() == {
        ("/nowhere", 404),
        ("/health/live", 200),
        ("/openapi.json", 200),
        ("/test/faults/exception", 500),
    }
    assert errors_written > 20, "there is room for errors when there is none for anything else"
    assert found.dropped > 0
    assert len(found.missing) == found.dropped, "what is not in the log is counted"
    assert (found.damaged, found.torn) == (0, 0)
    before, during = load.p99_ms(full - 3, full), load.p99_ms(full, freed)
    assert during < 2 * before + NOISE_MS


def known_and_on_disk(emitter: Emitter, disk: Path) -> tuple[set[int], set[int]]:
    """What was acknowledged while the disk was full, and of that what was on it a second later, while it still was."""
    emitter.wait_for(5)
    with filled(disk):
        emitter.read_for(2.5)
        known = set(emitter.numbers())
        emitter.read_for(1.1)
        return known, known & judged(disk / "log").numbers.keys()


ERRORS = ("--level", "error", "--pause", "0.1", "--burst", "5", "--seconds", "4")


def test_errors_find_room_on_a_full_disk(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "1m") as disk:
        with Emitter(disk / "log", tmp_path / "state", "full", 1, *ERRORS) as emitter:
            known, on_disk = known_and_on_disk(emitter, disk)
            assert known == on_disk
            entries = emitter.acknowledged()
            assert emitter.process.returncode == 0, emitter.stderr
        found = judged(disk / "log")
        assert set(entries) <= found.numbers.keys()
        assert (found.missing, found.damaged, found.torn, found.copies) == ([], 0, 0, 0)


@pytest.mark.parametrize("durable", [(), ("--durable",)])
@pytest.mark.parametrize("folder_goes", [False, True])
def test_writing_resumes_by_itself_and_what_was_lost_is_told(
    tmp_path: Path, durable: tuple[str, ...], folder_goes: bool
) -> None:
    with tmpfs(tmp_path / "disk", "2m") as disk:
        log = disk / "log"
        with Emitter(
            log, tmp_path / "state", "full", 1, "--ring-bytes", "70000", "--pause", "0.01", *durable
        ) as emitter:
            emitter.wait_for(5)
            with filled(disk):
                emitter.read_for(1.5)
                if folder_goes:  # Somebody makes room, and takes too much.
                    shutil.rmtree(log)
                    emitter.read_for(1.0)
            if durable:
                assert emitter.refused()
            until_resumed(log, meanwhile=emitter.read_for)
            emitter.stop()
            entries = emitter.entries()
            assert emitter.process.returncode == 0, emitter.stderr
        found = judged(log)
        if not folder_goes:
            assert len(found.missing) == found.dropped
            assert (found.damaged, found.torn, found.copies) == (0, 0, 0)
            if durable:
                assert {n for n, _ in entries if n > 0} <= found.numbers.keys()
            else:
                assert found.dropped > 0
        assert [event["event"] for event in emitter.told()] == ["log_write_failed"]


def test_without_the_reserve_the_same_harness_misses_the_errors(tmp_path: Path) -> None:
    with (
        tmpfs(tmp_path / "disk", "1m") as disk,
        Emitter(disk / "log", tmp_path / "state", "full", 1, *ERRORS, "--without", "reserve") as emitter,
    ):
        known, on_disk = known_and_on_disk(emitter, disk)
        assert on_disk < known


def test_without_the_count_of_losses_the_same_harness_sees_that_they_are_untold(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "2m") as disk:
        log = disk / "log"
        options = ("--ring-bytes", "70000", "--pause", "0.01", "--without", "losses")
        with Emitter(log, tmp_path / "state", "full", 1, *options) as emitter:
            emitter.wait_for(5)
            with filled(disk):
                emitter.read_for(1.5)
            until_resumed(log, meanwhile=emitter.read_for)
            emitter.stop()
            emitter.entries()
        found = judged(log)
        assert len(found.missing) > found.dropped == 0
