"""The power goes: no durable event is missing after the next start, and of ordinary ones at most the last second."""

import time
from pathlib import Path

import pytest

from tests.faults.disks import Disk, new_disk
from tests.faults.ledger import Emitter, Judged, judged, times

SECOND = 1_000_000_000
NO_FLUSH = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync,fsync:retval=0")
"""What should be flushed is not, and says that it was."""


def after_cuts(
    tmp_path: Path, cuts: int, *options: str, under: tuple[str, ...] = ()
) -> list[tuple[list[int], Judged]]:
    """For each of some moments: what had been acknowledged a second before (durable: by then), and the log that the next start finds and leaves."""
    disk, grace = new_disk(tmp_path, "24M"), 0 if "--durable" in options else SECOND
    moments: list[tuple[int, Disk]] = []
    with (
        disk,
        Emitter(disk.place / "log", disk.place / "state", "before", 1, *options, under=under) as emitter,
    ):
        emitter.wait_for(10)
        emitter.read_for(1.3)
        for number in range(cuts):
            emitter.read_for(0.05 + 0.37 * (number % 4))
            moments.append((time.monotonic_ns(), disk.after_power_cut(tmp_path / f"cut-{number}.img")))
        emitter.kill()
        entries = emitter.entries()
    return [
        ([entry.number for entry in entries if entry.number > 0 and entry.at < moment - grace], found_on(cut))
        for moment, cut in moments
    ]


def found_on(disk: Disk) -> Judged:
    """The log after a start that finds the disk so."""
    with disk:
        with Emitter(
            disk.place / "log", disk.place / "state", "after", 1_000_000, "--seconds", "0"
        ) as next_start:
            next_start.entries()
            assert next_start.process.returncode == 0, next_start.stderr
        found = judged(disk.place / "log")
    disk.image.unlink()
    return found


def test_no_durable_event_is_missing_after_a_power_cut(tmp_path: Path) -> None:
    for acknowledged, found in after_cuts(tmp_path, times(3, 40), "--durable", "--segment-bytes", "9000"):
        assert acknowledged
        assert set(acknowledged) <= found.numbers.keys()
        assert found.damaged == 0


@pytest.mark.parametrize("pace", [("--pause", "0.02"), ("--pause", "0.11", "--burst", "1")])
def test_ordinary_events_are_missing_for_the_last_second_at_most(
    tmp_path: Path, pace: tuple[str, str]
) -> None:
    for acknowledged, found in after_cuts(tmp_path, times(3, 30), *pace):
        assert acknowledged
        assert set(acknowledged) <= found.numbers.keys()
        assert found.damaged == 0


def test_without_the_flush_the_same_harness_sees_the_loss(tmp_path: Path) -> None:
    for acknowledged, found in after_cuts(tmp_path, 2, "--durable", under=NO_FLUSH):
        assert not set(acknowledged) <= found.numbers.keys()
