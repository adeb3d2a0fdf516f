"""`kill -9` at any moment: nothing that `emit` returned from is missing after the next start, and nothing is there twice."""

import random
import shutil
import time
from pathlib import Path

from tests.faults.ledger import Emitter, Judged, judged, times


def killed_again_and_again(
    folder: Path, rng: random.Random, count: int, *, forget: bool = False
) -> tuple[list[int], Judged]:
    """What `count` killed starts and a last one acknowledged, and the log that they left. With `forget` the rings are deleted."""
    log, state = folder / "log", folder / "state"
    sent: list[int] = []
    for round_ in range(count):
        emitter = Emitter(log, state, f"b{round_:05}", (round_ + 1) * 1_000_000)
        # Some are killed while they start, and so while they recover what others left.
        if rng.random() < 0.7:
            emitter.wait_for(rng.randint(1, 3_000))
        time.sleep(rng.random() * 0.2)
        emitter.kill()
        sent += emitter.acknowledged()
        if forget:
            shutil.rmtree(state, ignore_errors=True)
    last = Emitter(log, state, "last", 1, "--seconds", "0.1")
    sent += last.acknowledged()
    assert last.process.returncode == 0
    return sent, judged(log)


def test_a_killed_process_loses_no_event_that_emit_returned_from(tmp_path: Path, rng: random.Random) -> None:
    sent, found = killed_again_and_again(tmp_path, rng, times(12, 200))
    assert len(sent) > 5_000
    assert set(sent) <= found.numbers.keys()
    assert found.copies == 0
    assert set(found.numbers.values()) == {1}
    assert found.damaged == 0
    assert (found.dropped, found.missing) == (0, [])
    recovered = [event for event in found.events if event.get("recovered")]
    told = [event for event in found.events if event["event"] == "events_recovered"]
    assert sum(event["count"] for event in told) <= len(recovered)
    assert recovered
    assert sum(event["damaged"] for event in told) == 0


def test_without_the_ring_the_same_harness_sees_the_loss(tmp_path: Path, rng: random.Random) -> None:
    sent, found = killed_again_and_again(tmp_path, rng, 6, forget=True)
    assert not set(sent) <= found.numbers.keys()


def test_whatever_write_a_process_dies_in_nothing_is_lost_or_there_twice(tmp_path: Path) -> None:
    """The moments between a write and the release of what it wrote, one after the other, while recovering too."""
    log, state = tmp_path / "log", tmp_path / "state"
    sent: list[int] = []
    for when in range(1, times(6, 40)):
        strace = ("strace", "-f", "-qq", "-o", "/dev/null", "-P", str(log), "-e", "trace=fdatasync,write")
        die = ("-e", f"inject=fdatasync:signal=KILL:when={when // 3 + 1}")
        emitter = Emitter(
            log, state, f"w{when:05}", when * 1_000_000, under=(*strace[:5], "-e", "trace=fdatasync", *die)
        )
        sent += emitter.acknowledged()
    sent += Emitter(log, state, "last", 1, "--seconds", "0.1").acknowledged()
    found = judged(log)
    assert len(sent) > 1_000
    assert set(sent) <= found.numbers.keys()
    assert found.copies == 0
    assert (found.dropped, found.missing) == (0, [])
