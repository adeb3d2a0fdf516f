"""What becomes of closed segments: nothing is lost, nothing is touched too soon, and old ones make room."""

import asyncio
import fcntl
import gzip
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline import index
from pipeline.catalogue import EVENTS
from pipeline.eventlog import EventLog
from pipeline.keeping.archive import archive
from pipeline.keeping.keeper import Archived, Deleted, Done, Failed, Indexed, Keeper, tell
from pipeline.keeping.retention import Limits, disk_bytes
from pipeline.log import Log
from pipeline.reading.reader import lines
from pipeline.reading.verify import verify
from pipeline.record import encode
from pipeline.segments import (
    archive_of,
    archived_segments,
    create,
    has_room,
    index_of,
    is_open,
    live_segments,
    segment_name,
)
from pipeline.writing.stream import Rotation
from tests.faults.disks import killed_in
from tests.harness import clean_environment

LONG = Limits(seconds=math.inf, bytes=1 << 40)
HOUR = 3600.0


def segment(folder: Path, number: int, *, age: float = HOUR, events: int = 600, boot: str = "aaaaaa") -> Path:
    """A closed segment of about 200 KB that was last written `age` seconds ago."""
    folder.mkdir(exist_ok=True)
    path = folder / segment_name(1_700_000_000 + number, boot, number)
    first = 1 + events * (number - 1)
    path.write_bytes(b"".join(line(seq, boot) for seq in range(first, first + events)))
    os.utime(path, (time.time() - age,) * 2)
    return path


def line(seq: int, boot: str = "aaaaaa", **fields: Any) -> bytes:
    head = {
        "timestamp": "2026-01-01T12:34:56.789Z",
        "level": "INFO",
        "service": "chatkit-backend",
        "event": "http_request",
        "request_id": f"r-{seq}",
        "boot": boot,
        "seq": seq,
        "text": "x" * 200,
    }
    return encode(head | fields)


def keeper(folder: Path, *, after: float = 600.0, limits: Limits = LONG, ahead: float = 0.0) -> Keeper:
    """A keeper whose wall clock is `ahead` of ours."""
    return Keeper(folder, archive_after_seconds=after, limits=limits, clock=lambda: time.time() + ahead)


def work(keeper: Keeper) -> list[Done]:
    """Everything there is to do just now."""
    done: list[Done] = []
    for _ in range(200):
        step = keeper.step()
        if step is None:
            return done
        done.append(step)
    raise AssertionError("it never ends")


def seqs(folder: Path) -> list[int]:
    found = list(lines(folder))
    assert [line.fault for line in found if line.fault] == []
    return [line.event["seq"] for line in found if line.event is not None]


def test_a_closed_segment_gets_its_index_and_then_goes_to_the_archive(tmp_path: Path) -> None:
    live = segment(tmp_path, 1)
    content, state = live.read_bytes(), live.stat()
    done = work(keeper(tmp_path))
    archived = archive_of(live)
    assert done == [Indexed(live.name), Archived(live.name, len(content), archived.stat().st_size)]
    assert not live.exists()
    assert gzip.decompress(archived.read_bytes()) == content
    assert archived.stat().st_mode & 0o777 == 0o640
    assert archived.parent.stat().st_mode & 0o777 == 0o750
    assert archived.stat().st_mtime == state.st_mtime
    assert archived.stat().st_size < len(content) / 5
    assert seqs(tmp_path) == list(range(1, 601))
    assert list(tmp_path.glob("events-*")) == []  # out of the shippers' sight


def test_no_segment_is_archived_before_its_time(tmp_path: Path) -> None:
    live = segment(tmp_path, 1, age=590)
    assert work(keeper(tmp_path)) == [Indexed(live.name)]
    assert isinstance(work(keeper(tmp_path, ahead=20))[0], Archived)


def test_a_segment_is_left_alone_for_as_long_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / segment_name(1_700_000_000, "aaaaaa", 1)
    with open(path, "xb", buffering=0, opener=create) as writing:
        writing.write(line(1))
        os.utime(path, (0, 0))
        assert is_open(path)
        assert work(keeper(tmp_path, limits=Limits(seconds=0, bytes=0))) == []
    assert not is_open(path)
    assert [type(done) for done in work(keeper(tmp_path))] == [Indexed, Archived]


def test_a_new_segment_counts_as_written_before_it_has_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / segment_name(1_700_000_000, "aaaaaa", 1)
    path.touch()
    assert is_open(path)
    os.utime(path, (0, 0))
    assert not is_open(path)


def test_a_clock_that_jumps_forward_archives_nothing_early(tmp_path: Path) -> None:
    path = tmp_path / segment_name(1_700_000_000, "aaaaaa", 1)
    jumped = keeper(tmp_path, ahead=365 * 24 * HOUR)
    with open(path, "xb", buffering=0, opener=create) as writing:
        writing.write(line(1))
        assert work(jumped) == []
    assert work(jumped) == [Indexed(path.name)]


def test_what_is_in_the_folder_and_in_the_archive_is_read_once(tmp_path: Path) -> None:
    live = segment(tmp_path, 1)
    content = live.read_bytes()
    work(keeper(tmp_path))
    live.write_bytes(content)
    assert seqs(tmp_path) == list(range(1, 601))


ARCHIVE = """
import sys; from pathlib import Path; from pipeline.keeping.archive import archive
archive(Path(sys.argv[1]), lambda: None)
"""
DELETE_FIRST = """
import gzip, sys; from pathlib import Path
live = Path(sys.argv[1]); content = live.read_bytes(); live.unlink()
new = live.parent / "archive" / ".new"; new.write_bytes(gzip.compress(content)); new.rename(new.with_name(live.name + ".gz"))
"""


def killed_at(call: str, when: int, watched: list[str], program: str, live: Path) -> None:
    """Run `program` on that segment and kill it in the `when`-th such system call."""
    killed_in(call, [sys.executable, "-c", program, str(live)], when, watched)


KILLS = [
    ("openat", ".gz", 1),
    ("write", ".gz", 1),
    ("write", ".gz", 2),
    ("fsync", ".gz", 1),
    ("rename", "", 1),
    ("fsync", "archive", 1),
    ("unlink", "", 1),
]


@pytest.mark.parametrize(("call", "where", "when"), KILLS, ids=str)
def test_a_keeper_killed_anywhere_loses_nothing_and_the_next_one_finishes(
    tmp_path: Path, call: str, where: str, when: int
) -> None:
    live = segment(tmp_path, 1)
    unfinished = archive_of(live).with_name(f".{archive_of(live).name}")
    watched = {".gz": ["-P", str(unfinished)], "archive": ["-P", str(unfinished.parent)], "": []}[where]
    killed_at(call, when, watched, ARCHIVE, live)
    assert seqs(tmp_path) == list(range(1, 601))
    work(keeper(tmp_path))
    assert [path.name for path in archive_of(live).parent.iterdir()] == [archive_of(live).name]
    assert live_segments(tmp_path) == []
    assert seqs(tmp_path) == list(range(1, 601))


def test_the_kill_would_find_an_archive_that_is_made_too_late(tmp_path: Path) -> None:
    """The control: the same kill, and a program that deletes first."""
    live = segment(tmp_path, 1)
    (tmp_path / "archive").mkdir()
    killed_at("rename", 1, [], DELETE_FIRST, live)
    assert seqs(tmp_path) == []


def test_what_cannot_be_archived_stays_is_told_once_and_is_tried_again(tmp_path: Path) -> None:
    segments = [segment(tmp_path, number) for number in (1, 2)]
    (tmp_path / "archive").write_text("in the way")
    kept = keeper(tmp_path)
    done = work(kept)
    assert done[:2] == [Indexed(path.name) for path in segments]
    assert [type(step) for step in done[2:]] == [Failed]
    assert done[2][:3] == ("archive", segments[0].name, "EEXIST")
    assert live_segments(tmp_path) == segments
    (tmp_path / "archive").unlink()
    kept._resting.clear()  # a minute later
    assert [type(step) for step in work(kept)] == [Archived, Archived]
    assert seqs(tmp_path) == list(range(1, 1201))


def test_a_full_disk_leaves_the_segment_and_nothing_half_done(tmp_path: Path) -> None:
    live = segment(tmp_path, 1)
    program = (
        "import sys, resource; from pathlib import Path; from pipeline.keeping.archive import archive\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: archive(Path(sys.argv[1]), lambda: None)\n"
        "except OSError as error: sys.exit(error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(live)], env=clean_environment(), check=False)
    assert done.returncode == 27  # EFBIG, which is this limit's ENOSPC
    assert live.exists()
    assert list(archive_of(live).parent.iterdir()) == []


def test_a_stop_leaves_off_in_the_middle_of_a_segment(tmp_path: Path) -> None:
    live = segment(tmp_path, 1, events=3000)
    blocks = 0

    def go_on() -> None:
        nonlocal blocks
        blocks += 1
        if blocks == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        archive(live, go_on)
    assert live.exists()
    assert list(archive_of(live).parent.iterdir()) == []
    kept = keeper(tmp_path)
    kept.stop()
    assert kept.step() is None
    assert not index_of(live).exists()


def test_what_is_too_old_is_deleted_with_its_index(tmp_path: Path) -> None:
    old = [segment(tmp_path, number, age=40 * HOUR) for number in (1, 2)]
    young = segment(tmp_path, 3, age=2 * HOUR)
    work(keeper(tmp_path))
    done = work(keeper(tmp_path, limits=Limits(seconds=24 * HOUR, bytes=1 << 40)))
    assert [type(step) for step in done] == [Deleted]
    assert done[0][:2] == ("age", 2)
    assert done[0][3:] == (old[0].name, old[1].name)
    assert archived_segments(tmp_path) == [archive_of(young)]
    assert [path.name for path in (tmp_path / "index").iterdir()] == [index_of(young).name]


def test_the_oldest_archives_make_room(tmp_path: Path) -> None:
    for number in range(1, 7):
        segment(tmp_path, number)
    work(keeper(tmp_path))
    archives = archived_segments(tmp_path)
    room = sum(disk_bytes(path) for path in archives[3:])
    [done] = work(keeper(tmp_path, limits=Limits(seconds=math.inf, bytes=room)))
    assert isinstance(done, Deleted)
    assert (done.reason, done.segments) == ("budget", 3)
    assert archived_segments(tmp_path) == archives[3:]


def test_a_live_segment_is_deleted_for_room_only_when_the_archive_does_not_take_it(tmp_path: Path) -> None:
    live = segment(tmp_path, 1)
    limits = Limits(seconds=math.inf, bytes=live.stat().st_size // 2)
    assert [type(done) for done in work(keeper(tmp_path, limits=limits))] == [Indexed, Archived]
    work(keeper(tmp_path, limits=Limits(seconds=math.inf, bytes=0)))
    (tmp_path / "archive").rmdir()
    (tmp_path / "archive").write_text("in the way")
    segment(tmp_path, 2)
    young = segment(tmp_path, 3, age=60)
    done = work(keeper(tmp_path, limits=limits))
    assert [type(step) for step in done if not isinstance(step, Indexed)] == [Failed, Deleted]
    assert live_segments(tmp_path) == [young]


def test_one_process_at_a_time_keeps_a_folder(tmp_path: Path) -> None:
    segment(tmp_path, 1)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert keeper(tmp_path).step() is None
    os.close(other)
    assert keeper(tmp_path).step() is not None


def test_there_is_room_for_fifty_live_segments(tmp_path: Path) -> None:
    for number in range(1, 51):
        assert has_room(tmp_path)
        segment(tmp_path, number, events=1)
    assert not has_room(tmp_path)
    work(keeper(tmp_path))
    assert has_room(tmp_path)


def test_a_folder_that_has_gone_or_is_no_folder_is_no_error(tmp_path: Path) -> None:
    assert keeper(tmp_path / "none").step() is None
    (tmp_path / "file").touch()
    assert keeper(tmp_path / "file").step() is None


def test_what_a_killed_keeper_left_is_swept_away(tmp_path: Path) -> None:
    live = segment(tmp_path, 1)
    index.build(live)
    left = [tmp_path / "archive" / f".{live.name}.gz", tmp_path / "index" / f".{live.name}.idx.99"]
    left[0].parent.mkdir()
    for path in left:
        path.touch()
        os.utime(path, (0, 0))
    building = tmp_path / "index" / f".{live.name}.idx.100"  # by a reader that lives
    building.touch()
    work(keeper(tmp_path))
    assert [path.exists() for path in (*left, building)] == [False, False, True]


async def test_the_log_is_whole_at_every_moment_while_it_is_written_kept_and_read(tmp_path: Path) -> None:
    log = Log()
    log.identify(boot="bbbbbb", version="1", config="c")
    events = await EventLog(tmp_path, log=log, rotation=Rotation(20_000, HOUR)).open()
    kept = keeper(tmp_path, after=0)
    archived = rounds = 0
    while archived < 12 and rounds < 500:
        rounds += 1
        for _ in range(20):
            log.info("tick", text="x" * 100)
        keeping = asyncio.to_thread(work, kept)
        reading = asyncio.to_thread(verify, tmp_path)
        done, report = await asyncio.gather(keeping, reading)
        assert report.problems == []
        archived += sum(isinstance(step, Archived) for step in done)
    await events.close()
    work(kept)
    assert archived >= 12
    assert live_segments(tmp_path) == []
    read = [line.event["event"] for line in lines(tmp_path) if line.event is not None]
    assert read.count("tick") == 20 * rounds


def test_what_was_done_is_told_as_it_is_declared(capfd: pytest.CaptureFixture[str]) -> None:
    log = Log()
    for done in (
        Indexed("a"),
        Archived("a", 10, 1),
        Deleted("age", 2, 20, "a", "b"),
        Failed("archive", "a", "ENOSPC", "No space left on device"),
    ):
        tell(log, done)
    told = [json.loads(text) for text in capfd.readouterr().err.splitlines()]
    assert [event["event"] for event in told] == ["segment_archived", "segments_deleted", "log_upkeep_failed"]
    for event in told:
        assert set(EVENTS[event["event"]].fields) <= set(event)
