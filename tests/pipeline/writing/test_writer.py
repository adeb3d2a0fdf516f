"""A disk that hangs, fails or is full, under a log in this process: nobody waits for it, and what is lost is told."""

import asyncio
import errno
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.catalogue import Event, Field, Observation, declare
from pipeline.eventlog import EventLog
from pipeline.log import Log, NotDurable
from pipeline.reading.reader import lines
from pipeline.segments import live_segments
from pipeline.writing.reserve import Reserve
from pipeline.writing.stream import Rotation, Segments
from tests.pipeline.conftest import Read
from tests.waiting import ENOUGH_SECONDS


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


class HungDisk:
    """Stands between the writer and its file: a write does not return until it is let go, and holds up a thread for real."""

    def __init__(self, segments: Segments) -> None:
        self.file: Any = segments._file
        self.let_go = threading.Event()
        self.writes = 0
        self._executor = segments._executor
        segments._file = self  # type: ignore[assignment]

    def fileno(self) -> int:
        return int(self.file.fileno())

    async def write(self, data: bytes) -> int:
        self.writes += 1
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self.let_go.wait)
        return int(await self.file.write(data))

    async def close(self) -> None:
        await self.file.close()


async def test_while_the_disk_hangs_calls_return_figures_go_on_and_nothing_is_lost(
    log: Log, events: EventLog, written: Read
) -> None:
    disk = HungDisk(events._writer._segments)
    log.info("test_counted", n=0)
    while not disk.writes:
        await asyncio.sleep(0.001)
    for number in range(1, 1000):
        log.info("test_counted", n=number)
        await asyncio.sleep(0)
    assert written() == []
    assert events.figures().totals().requests == 1000
    assert events.status().queue_depth == 1000
    assert events.status().oldest_seconds > 0
    disk.let_go.set()
    assert await events.close()
    assert [event["n"] for event in written()] == list(range(1000))


class FullDisk:
    """Stands between the writer and its file: takes `free` bytes, then has no room until it is given some."""

    def __init__(self, file: Any, free: int, error: int) -> None:
        self.file, self.free, self.error = file, free, error

    async def write(self, data: bytes) -> int:
        if self.free <= 0:
            raise OSError(self.error, os.strerror(self.error))
        taken = await self.file.write(data[: min(self.free, len(data))])
        self.free -= taken
        return int(taken)

    async def close(self) -> None:
        await self.file.close()

    def fileno(self) -> int:
        return int(self.file.fileno())


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("free", [0, 1, 150, 777])
async def test_a_failing_disk_loses_nothing_that_fits_in_memory(
    log: Log,
    events: EventLog,
    written: Read,
    free: int,
    error: int,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    disk = FullDisk(events._writer._segments._file, free, error)
    events._writer._segments._file = disk  # type: ignore[assignment]
    for number in range(50):
        log.info("test_counted", n=number)
    full = error in {errno.ENOSPC, errno.EDQUOT}
    while not events.status().failing_seconds:
        await asyncio.sleep(0.001)
    assert events.status().failure == errno.errorcode[error]
    if full:
        await asyncio.sleep(0.2)
        assert events.status().failing_seconds > 0
        disk.free = 1 << 20
    assert await events.close()
    told = [json.loads(line) for line in capsysbinary.readouterr().err.splitlines()]
    assert [event["event"] for event in told] == ["log_write_failed"]
    found = [line for line in lines(events.folder) if line.fault is None and line.event is not None]
    numbers = [line.event["n"] for line in found if line.event is not None and "n" in line.event]
    assert numbers == list(range(50))
    torn = [line for line in lines(events.folder) if line.fault is not None]
    assert len(torn) <= (0 if full else 1)
    assert [
        line.event["errno"] for line in found if line.event and line.event["event"] == "log_write_resumed"
    ] == [errno.errorcode[error]]


async def test_what_has_no_room_is_counted_by_level_least_important_first(folder: Path, log: Log) -> None:
    opened = await EventLog(folder, log=log, level="DEBUG", ring_bytes=1 << 16).open()
    for _ in range(2_000):
        log.debug("test_noise", text="x" * 100)
    for number in range(60):
        log.info("test_counted", n=number, text="x" * 100)
    for _ in range(5):
        log.error("test_trouble", text="x" * 100)
    dropped = opened.status().dropped
    await asyncio.sleep(0.1)
    assert await opened.close()
    found = [line.event for line in lines(folder) if line.event is not None]
    (told,) = [event for event in found if event["event"] == "events_dropped"]
    assert told["by_level"].keys() == {"DEBUG"}
    assert told["count"] == told["by_level"]["DEBUG"] == dropped > 1_000
    assert sum(event["event"] == "test_trouble" for event in found) == 5
    assert sum(event["event"] == "test_counted" for event in found) == 60
    # Accepted is written, and the rest is told: no number is unaccounted for.
    numbers = {event["seq"] for event in found}
    missing = set(range(1, max(numbers) + 1)) - numbers
    assert len(missing) == dropped
    assert told["from_seq"] == min(missing)
    assert told["to_seq"] == max(missing)


async def test_a_response_that_has_no_room_in_the_log_is_still_in_the_figures(folder: Path, log: Log) -> None:
    opened = await EventLog(folder, log=log, ring_bytes=1 << 16).open()
    for number in range(1_000):
        log.info("test_counted", n=number, text="x" * 200)
    assert opened.status().dropped > 0
    await asyncio.sleep(0.1)
    assert opened.figures().totals().requests == 1_000
    await opened.close()


async def test_a_disk_that_never_answers_does_not_hold_up_the_end(
    log: Log, events: EventLog, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    disk = HungDisk(events._writer._segments)
    log.info("test_counted", n=1)
    async with asyncio.timeout(ENOUGH_SECONDS):
        assert not await events.close(seconds=0.2)
    assert json.loads(capsysbinary.readouterr().err)["event"] == "log_closed_early"
    disk.let_go.set()
    await asyncio.sleep(0.05)  # the writer, still there, ends and closes its file


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
@pytest.mark.parametrize("first_batch", [1, 50])
async def test_after_an_outage_every_missing_number_is_told(
    folder: Path, log: Log, level: str, first_batch: int
) -> None:
    """Also when the ring is full of what is as important as the record of the loss itself."""
    opened = await EventLog(folder, log=log, level="DEBUG", ring_bytes=1 << 16).open()
    disk = FullDisk(opened._writer._segments._file, 0, errno.ENOSPC)
    opened._writer._segments._file = disk  # type: ignore[assignment]
    emit = getattr(log, level)
    for _ in range(first_batch):
        emit("test_before")
    while not opened.status().failing_seconds:
        await asyncio.sleep(0.001)
    for _ in range(2_000):
        emit("test_flood", text="x" * 100)
    disk.free = 1 << 30
    while opened.status().failing_seconds:
        await asyncio.sleep(0.01)
        emit("test_flood", text="x" * 100)
    assert await opened.close()
    found = [line.event for line in lines(folder) if line.event is not None]
    numbers = {event["seq"] for event in found}
    missing = set(range(1, max(numbers) + 1)) - numbers
    assert len(missing) > 100
    told = [event for event in found if event["event"] == "events_dropped"]
    assert sum(event["count"] for event in told) == len(missing) == opened.status().dropped
    covered = {number for event in told for number in range(event["from_seq"], event["to_seq"] + 1)}
    assert missing <= covered
    assert [event["errno"] for event in found if event["event"] == "log_write_resumed"] == ["ENOSPC"]


async def test_whoever_waits_for_a_hung_disk_at_a_close_is_told_that_it_is_in_vain(
    log: Log, events: EventLog
) -> None:
    disk = HungDisk(events._writer._segments)
    waiting = asyncio.create_task(log.durable("test_counted", n=1))
    while not disk.writes:
        await asyncio.sleep(0.001)
    try:
        assert not await events.close(0.2)
        with pytest.raises(NotDurable):
            await waiting
    finally:
        disk.let_go.set()
        await disk.close()


async def test_threads_that_lose_events_while_losses_are_told_are_told_of_exactly(
    log: Log, folder: Path
) -> None:
    events = await EventLog(folder, log=log, ring_bytes=1 << 16, linger_seconds=0).open()
    stop = threading.Event()

    def hammer() -> None:
        while not stop.wait(0.0003):
            for _ in range(50):
                log.info("hammered", text="x" * 1_000)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    threads = [threading.Thread(target=hammer) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        await asyncio.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        sys.setswitchinterval(interval)
    await asyncio.sleep(0.1)
    dropped = events.status().dropped
    assert await events.close(20)
    found = [line.event for line in lines(folder) if line.event is not None]
    assert dropped > 0
    assert sum(event["count"] for event in found if event["event"] == "events_dropped") == dropped
    assert max(event["seq"] for event in found) - len(found) == dropped


async def test_after_a_line_that_was_taken_in_part_and_cannot_be_taken_back_comes_another_segment(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await EventLog(folder, log=log).open()
    write, room, refusals = Segments.write, [1 << 20], [0]

    async def into_what_room_there_is(self: Segments, part: memoryview) -> int:
        if room[0] <= 0:
            refusals[0] += 1
            room[0] = 150 if refusals[0] == 2 else 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = part[: room[0]]
        room[0] -= len(part)
        return await write(self, part)

    async def not_at_all(self: Segments, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Segments, "write", into_what_room_there_is)
    monkeypatch.setattr(Segments, "cut", not_at_all)
    monkeypatch.setattr(Reserve, "take_again", lambda _: room[0] > 1_000)
    log.info("before")
    await asyncio.sleep(1)
    room[0] = 0
    log.info("waits")
    await asyncio.sleep(0.3)
    log.error("begun", text="x" * 100)
    await asyncio.sleep(1.5)
    room[0] = 10_000
    log.error("after")
    await asyncio.sleep(1.2)
    room[0] = 1 << 20
    assert await events.close(10)
    found = list(lines(folder))
    assert [line.fault for line in found if line.fault not in {None, "torn"}] == []
    names = [line.event["event"] for line in found if line.event is not None]
    assert {"before", "waits", "begun", "after"} <= set(names)
    assert len(live_segments(folder)) > 1


async def test_a_full_disk_that_does_not_flush_costs_no_segment_for_each_error(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await EventLog(folder, log=log).open()
    full = [True]

    async def neither(_: Segments) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Segments, "sync", neither)
    monkeypatch.setattr(Reserve, "take_again", lambda _: not full[0])
    events._writer._full = True
    began = time.monotonic()
    for number in range(40):
        log.error("test_counted", n=number)
        await asyncio.sleep(0.1)
    # Each flush that fails costs one: the first at once, then after one second, five, and thirty.
    assert len(live_segments(folder)) <= 3 + (time.monotonic() - began) / 5
    full[0] = False
    assert await events.close(60)
    told = [line.event["n"] for line in lines(folder) if line.event and line.event["event"] == "test_counted"]
    assert sorted(told) == list(range(40))


async def test_the_opening_of_a_segment_for_which_the_ring_had_no_room_is_kept_until_it_is_written(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await EventLog(folder, log=log, rotation=Rotation(20_000, 3600)).open()
    put, failing = events._ring.put, [True]

    def full_for_openings(line: bytes, level: int, request: int = 0) -> int:
        return 0 if b'"segment_opened"' in line else put(line, level, request)

    begin = Segments.begin

    async def fails_once(self: Segments, first_line: Any) -> None:
        if failing[0]:
            failing[0] = False
            self._opening = self._opening or first_line(self.count + 1, self.name)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        await begin(self, first_line)

    monkeypatch.setattr(events._ring, "put", full_for_openings)
    monkeypatch.setattr(Segments, "begin", fails_once)
    monkeypatch.setattr("pipeline.writing.writer._ROTATION_RETRY_SECONDS", 0.05)
    for _ in range(4):
        for _ in range(100):
            log.info("filling", text="x" * 300)
        await asyncio.sleep(0.1)
    assert await events.close(10)
    found = [line.event for line in lines(folder) if line.event is not None]
    dropped = sum(event["count"] for event in found if event["event"] == "events_dropped")
    assert [event["event"] for event in found].count("rotation_postponed") == 1
    assert max(event["seq"] for event in found) - len(found) == dropped
