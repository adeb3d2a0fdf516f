"""What a killed process left in its ring comes into the log once, whatever became of the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalogue import Event, Field, Observation, declare
from pipeline.eventlog import EventLog
from pipeline.log import Log
from pipeline.losses import Losses
from pipeline.places import SHARES, take_place
from pipeline.reading.reader import lines
from pipeline.recovery import logged, recover
from pipeline.ring import Damaged, Owner, Ring
from pipeline.segments import segment_name


@pytest.fixture(autouse=True)
def _counted(vocabulary: None) -> None:
    declare(
        [
            Event(
                "test_counted",
                "INFO",
                "",
                {"n": Field("")},
                observe=lambda fields: Observation("/r", fields["n"], False, False),
            )
        ]
    )


def line(boot: str, seq: int, **fields: Any) -> bytes:
    event = {"timestamp": "2026-01-01T00:00:00.000Z", "event": "test_counted", "boot": boot, "seq": seq}
    return json.dumps(event | {"n": seq} | fields, separators=(",", ":")).encode() + b"\n"


def left_behind(state: Path, worker: int, boot: str, seqs: range) -> None:
    """A ring as a killed process leaves it."""
    state.mkdir(parents=True, exist_ok=True)
    with Ring(1 << 16, SHARES, state / f"worker-{worker}.ring") as ring:
        ring.own(Owner(boot, "run", 4711))
        for seq in seqs:
            assert ring.put(line(boot, seq), 20)


def written(folder: Path) -> list[dict[str, Any]]:
    return [one.event for one in lines(folder) if one.event is not None]


async def opened_and_closed(folder: Path, boot: str) -> tuple[Owner | None, int]:
    """A start that comes after; whom it followed, and how many responses its figures know."""
    log = Log()
    log.identify(boot=boot, version="", config="")
    events = await EventLog(folder, log=log).open()
    requests = events.figures().totals().requests
    await events.close()
    return events.predecessor, requests


async def test_it_is_marked_told_of_and_counted(folder: Path) -> None:
    left_behind(folder, 1, "dead01", range(1, 6))
    predecessor, requests = await opened_and_closed(folder, "next01")
    found = written(folder)
    assert [(event["boot"], event["seq"]) for event in found if event.get("recovered")] == [
        ("dead01", seq) for seq in range(1, 6)
    ]
    (told,) = [event for event in found if event["event"] == "events_recovered"]
    assert (told["of_boot"], told["pid"], told["count"], told["damaged"]) == ("dead01", 4711, 5, 0)
    assert predecessor == Owner("dead01", "run", 4711)
    assert requests == 5


async def test_what_the_log_has_already_is_not_written_again(folder: Path) -> None:
    left_behind(folder, 1, "dead01", range(1, 9))
    (folder / "events-20260101T000000000Z-dead01-1.jsonl").write_bytes(
        b"".join(line("dead01", seq) for seq in range(1, 4)) + line("dead01", 4)[:20]
    )
    # A start between died while it was recovering: two more lines, and half of a third.
    (folder / "events-20260101T000001000Z-half01-1.jsonl").write_bytes(
        line("half01", 1, event="segment_opened")
        + line("dead01", 4, recovered=True)
        + line("dead01", 5, recovered=True)
        + line("dead01", 6, recovered=True)[:30]
    )
    await opened_and_closed(folder, "next01")
    seqs = [event["seq"] for event in written(folder) if event["boot"] == "dead01"]
    assert sorted(seqs) == list(range(1, 9))


async def test_nothing_is_recovered_twice(folder: Path) -> None:
    left_behind(folder, 1, "dead01", range(1, 4))
    for number in range(3):
        await opened_and_closed(folder, f"next{number:02}")
    assert sum(event["boot"] == "dead01" for event in written(folder)) == 3


async def test_the_first_worker_looks_after_places_that_nobody_takes_any_more(folder: Path) -> None:
    left_behind(folder, 1, "dead01", range(1, 3))
    left_behind(folder, 3, "dead03", range(1, 4))
    _, requests = await opened_and_closed(folder, "next01")
    boots = [event["boot"] for event in written(folder) if event.get("recovered")]
    assert boots == ["dead01"] * 2 + ["dead03"] * 3
    assert requests == 5
    with Ring(1 << 16, SHARES, folder / "worker-3.ring") as ring:
        assert ring.owner is None
        assert ring.head == ring.tail == 3


async def test_losses_that_a_killed_process_could_not_tell_are_told_by_the_next(folder: Path) -> None:
    left_behind(folder, 1, "dead01", range(1, 3))
    with Ring(1 << 16, SHARES, folder / "worker-1.ring") as ring:
        ring.losses[0], ring.losses[1], ring.losses[3] = 3, 9, 7
    await opened_and_closed(folder, "next01")
    (told,) = [event for event in written(folder) if event["event"] == "events_dropped"]
    assert (told["from_seq"], told["to_seq"], told["count"], told["by_level"], told["of_boot"]) == (
        3, 9, 7, {"INFO": 7}, "dead01",
    )  # fmt: skip


async def test_a_ring_that_cannot_be_read_is_set_aside_and_said(folder: Path) -> None:
    folder.mkdir()
    (folder / "worker-1.ring").write_bytes(b"not a ring" * 1000)
    await opened_and_closed(folder, "next01")
    (told,) = [event for event in written(folder) if event["event"] == "state_damaged"]
    assert told["level"] == "ERROR"
    assert (folder / told["file"]).read_bytes() == b"not a ring" * 1000


@given(flips=st.lists(st.tuples(st.integers(0, 1 << 22), st.integers(0, 7)), max_size=6), data=st.data())
def test_no_flip_in_a_ring_brings_a_wrong_event_into_the_log(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], data: st.DataObject
) -> None:
    state = tmp_path_factory.mktemp("state")
    left_behind(state, 1, "dead01", range(1, 40))
    path = state / "worker-1.ring"
    content = bytearray(path.read_bytes())
    begin = content.index(b'{"timestamp"')
    for place, bit in flips:  # half of them where lines are
        at = begin + place % 4_000 if place % 2 else place % len(content)
        content[at] ^= 1 << bit
    path.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    try:
        ring = Ring(1 << 16, SHARES, path)
    except Damaged:
        return
    with ring:
        found = recover(ring, state)
    put = {line("dead01", seq) for seq in range(1, 40)}
    whole = [one.replace(b',"recovered":true', b"") for one in found.lines.splitlines(keepends=True)]
    assert set(whole) <= put
    assert len(whole) == found.missing


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_whatever_the_log_holds_asking_it_never_fails(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    for number, piece in enumerate(pieces):
        (folder / f"events-2026010{number % 9 + 1}T000000000Z-dead01-{number}.jsonl").write_bytes(piece)
    logged(folder, {"dead01", "other1"}, 1_000)


async def test_a_line_with_a_value_that_cannot_be_counted_is_in_the_log_and_stops_no_start(
    folder: Path,
) -> None:
    folder.mkdir()
    with Ring(1 << 16, SHARES, folder / "worker-1.ring") as ring:
        ring.own(Owner("dead01", "run", 4711))
        for seq, odd in enumerate((5, None, "long", [1], 7), start=1):
            assert ring.put(line("dead01", seq, n=odd), 20)
    _, requests = await opened_and_closed(folder, "next01")
    assert requests == 2
    assert [event["n"] for event in written(folder) if event.get("recovered")] == [5, None, "long", [1], 7]


def test_a_segment_that_is_archived_meanwhile_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    segments = [folder / segment_name(1_700_000_000 + number, "dead01", number) for number in (1, 2, 3)]
    for number, segment in enumerate(segments, start=1):
        segment.write_bytes(line("dead01", number))

    def just_before(_: Path) -> list[Path]:
        segments[1].unlink()
        return segments

    monkeypatch.setattr("pipeline.recovery.live_segments", just_before)
    assert logged(folder, {"dead01"}, 1 << 20) == {("dead01", 1), ("dead01", 3)}


async def test_an_empty_ring_that_a_full_disk_left_is_no_ring(folder: Path) -> None:
    folder.mkdir()
    (folder / "worker-3.ring").touch()
    await opened_and_closed(folder, "next01")
    with Ring(1 << 16, SHARES, folder / "worker-3.ring") as ring:
        assert ring.head == 0


def test_two_who_find_the_same_damaged_ring_do_not_share_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker-1.ring").write_bytes(b"x" * 10_000)
    rename, second = Path.rename, []

    def while_the_other_comes(path: Path, aside: Path) -> Path:
        second.append(take_place(tmp_path, 1 << 16)[0])
        return rename(path, aside)

    monkeypatch.setattr(Path, "rename", while_the_other_comes)
    first, damaged = take_place(tmp_path, 1 << 16)
    assert (first.worker, second[0].worker) == (1, 2)
    assert len(damaged) == 1
    assert (tmp_path / damaged[0][0]).read_bytes() == b"x" * 10_000
    for place in (first, second[0]):
        place.close()


def test_losses_that_come_while_others_are_told_are_told_later() -> None:
    ring = Ring(1 << 16, SHARES)
    losses = Losses(ring.losses)
    losses.add(20, 5)
    losses.add(40, 9)
    assert losses.told() == {"from_seq": 5, "to_seq": 9, "count": 2, "by_level": {"INFO": 1, "ERROR": 1}}
    losses.add(20, 11)
    losses.forget()
    told = losses.told()
    assert (told["to_seq"], told["count"], told["by_level"]) == (11, 1, {"INFO": 1})
    losses.forget()
    assert losses.told() == {}
