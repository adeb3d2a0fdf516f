"""A log of one's own, in a folder of one's own."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.catalogue import EVENTS, PLANS
from pipeline.eventlog import EventLog
from pipeline.log import Log
from pipeline.reading.reader import Event, lines


@pytest.fixture(autouse=True)
def vocabulary() -> Iterator[None]:
    """What a test declares is forgotten after it."""
    events, plans = dict(EVENTS), dict(PLANS)
    yield
    EVENTS.clear()
    EVENTS.update(events)
    PLANS.clear()
    PLANS.update(plans)


Read = Callable[[], list[Event]]


@pytest.fixture
def log() -> Iterator[Log]:
    own = Log()
    own.identify(boot="test01", version="1.2.3", config="abc123")
    yield own
    own.direct(None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
async def events(folder: Path, log: Log) -> AsyncIterator[EventLog]:
    opened = await EventLog(folder, log=log, level="DEBUG").open()
    yield opened
    await opened.close()


@pytest.fixture
def written(folder: Path) -> Read:
    """What the log holds but for `segment_opened`; every line must parse."""

    def read() -> list[dict[str, Any]]:
        found = list(lines(folder))
        assert [line.fault for line in found] == [None] * len(found)
        return [
            line.event for line in found if line.event is not None and line.event["event"] != "segment_opened"
        ]

    return read
