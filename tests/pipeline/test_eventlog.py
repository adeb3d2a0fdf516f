"""From the call to the disk: what is accepted is written, once, in order, and what is not is told."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from pipeline import index
from pipeline.blocks import BLOCK
from pipeline.catalogue import Event, Field, Observation, declare
from pipeline.context import Request, bound
from pipeline.eventlog import EventLog
from pipeline.log import Log
from pipeline.segments import FolderInUse, index_of, live_segments
from pipeline.writing.stream import Rotation

from .conftest import Read


@pytest.fixture(autouse=True)
def _counted(vocabulary: None) -> None:
    """An event that the windows count."""
    declare(
        [
            Event(
                "test_counted",
                "INFO",
                "",
                {"n": Field(""), "text": Field("")},
                observe=lambda fields: Observation("/r", fields["n"], False, False),
            )
        ]
    )


async def test_every_event_is_written_once_and_in_order(log: Log, events: EventLog, written: Read) -> None:
    for number in range(20_000):
        log.info("test_counted", n=number)
        if number % 1000 == 0:
            await asyncio.sleep(0)
    assert await events.close()
    assert [event["n"] for event in written()] == list(range(20_000))
    assert [event["seq"] for event in written()] == list(range(2, 20_002))


async def test_a_segment_closes_with_its_index(log: Log, folder: Path) -> None:
    events = await EventLog(folder, log=log, rotation=Rotation(200_000, 3600)).open()
    for number in range(3_000):
        with bound(Request(f"r-{number}")):
            log.info("test_counted", n=number, text="x" * (number % 300))
        if number % 7 == 0:
            log.info("test_counted", n=0)
        if number % 100 == 0:
            await asyncio.sleep(0.002)
    await events.close()
    assert len(live_segments(folder)) > 2
    for segment in live_segments(folder):
        while not index_of(segment).exists():  # by a thread that nobody waits for
            await asyncio.sleep(0.01)
        kept, data = index.load(segment), segment.read_bytes()
        assert kept is not None
        built = index.index_blocks(data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
        assert (kept.size, kept.checksums) == (built.size, built.checksums)
        assert len(kept.entries) == 3 * data.count(
            b"\n"
        )  # made as it was written: `build` counts no other lines
        for number in range(3_000):
            assert kept.blocks(b"r-%d" % number) == built.blocks(b"r-%d" % number)


async def test_the_windows_count_what_was_observed(log: Log, events: EventLog) -> None:
    for number in range(100):
        log.info("test_counted", n=number)
    log.info("something_else")
    assert events.figures().totals().requests == 100
    assert events.figures().totals().average_ms == pytest.approx(49.5)
    await events.close()
    assert events.status().written == 102  # with `segment_opened`


async def test_a_segment_opens_with_a_line_by_which_shippers_know_it(folder: Path, log: Log) -> None:
    beginnings = set()
    for _ in range(5):
        opened = await EventLog(folder, log=log, rotation=Rotation(4_096, 3600)).open()
        for number in range(50):
            log.info("test_counted", n=number, text="x" * 200)
            if number % 10 == 9:
                await asyncio.sleep(0.02)
        await opened.close()
        log.identify(boot=f"boot{_}", version="1", config="c")
    segments = live_segments(folder)
    assert len(segments) > 10
    for segment in segments:
        first = segment.read_bytes().split(b"\n")[0] + b"\n"
        assert len(first) >= 1_024
        assert json.loads(first)["event"] == "segment_opened"
        beginnings.add(first[:200])
        assert stat.S_IMODE(segment.stat().st_mode) == 0o640
    assert len(beginnings) == len(segments)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


async def test_segments_end_by_size_and_by_age_and_nothing_is_lost(
    folder: Path, log: Log, written: Read
) -> None:
    opened = await EventLog(folder, log=log, rotation=Rotation(max_bytes=10_000, max_seconds=0.2)).open()
    for number in range(300):
        log.info("test_counted", n=number, text="x" * 100)
        await asyncio.sleep(0.002)
    await opened.close()
    segments = live_segments(folder)
    assert len(segments) > 3
    assert [event["n"] for event in written()] == list(range(300))
    names = [json.loads(segment.read_bytes().split(b"\n")[0])["previous"] for segment in segments]
    assert names == [None, *(segment.name for segment in segments[:-1])]


async def test_a_second_log_on_one_folder_is_refused(folder: Path, events: EventLog) -> None:
    assert events.running
    with pytest.raises(FolderInUse):
        await EventLog(folder, log=Log()).open()
    await events.close()
    again = await EventLog(folder, log=Log()).open()
    await again.close()


async def test_a_second_log_with_the_same_state_is_refused(folder: Path, events: EventLog) -> None:
    assert events.running
    with pytest.raises(FolderInUse, match="state"):
        await EventLog(folder.with_name("other"), log=Log(), state=folder).open()


async def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        await EventLog(tmp_path / "file" / "log", log=Log()).open()


async def test_a_bug_in_the_windows_does_not_stop_the_writer(
    log: Log, events: EventLog, written: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(events.figures(), "observe", broken)
    log.info("test_counted", n=1)
    await asyncio.sleep(0.05)
    log.info("test_counted", n=2)
    assert await events.close()
    assert [event["n"] for event in written()] == [1, 2]


async def test_who_logs_after_the_end_is_heard_on_standard_error(
    log: Log, events: EventLog, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    await events.close()
    log.warning("too_late")
    assert json.loads(capsysbinary.readouterr().err)["event"] == "too_late"
