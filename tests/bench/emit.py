"""What an event costs: at the caller, and in all until it is in the file, beside the floor and the usual ways of logging.

    python -m tests.bench.emit

One realistic `http_request` event within a request, 14 fields of its own after those that every event has, IDs and times
varying as in life. Every contender writes the same content to a file, in a process of its own; that each line arrived is
checked. The cost at the caller is the time of the calling thread in slices of 1,000 events, the median; waiting for another
thread is not counted, which favours those who leave the work to one. In all is the CPU time of the process, from the first event
until the last is in the file. The floor is what nobody can do without: the dict with its timestamp, orjson, one buffer, one write
each 1,000 events. ChatKit does it with redaction, ring and windows on.
"""

import asyncio
import gc
import itertools
import json
import logging
import os
import queue
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from functools import partial
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import uvloop

from tests.bench.contest import Figures, Promise, apart, interleaved, medians, ratio, report, table, told

ROUNDS = 7
SLICE = 1_000
SLICES = 40
# After a slice whoever writes behind the caller's back gets its turn; nobody logs thousands of events without end.
PAUSE_SECONDS = 0.006
# loguru takes too long for as many; its cost for each does not depend on how many there are.
SLICES_OF = {"loguru": 4}

Entry = tuple[str, dict[str, Any]]
"""A request's ID, and the fields of its canonical event."""
Slice = Callable[[], None]


class Way(NamedTuple):
    """A way to log. `ready` makes ready to write some events, and what it returns writes them.

    Binding their requests is the middleware's work, so that is done when they are made ready. `room` says whether there is
    room for more, where who writes behind the caller's back might be left behind.
    """

    ready: Callable[[list[Entry]], Slice]
    room: Callable[[], bool] = lambda: True


ALWAYS = {"service": "chatkit-backend", "boot": "k3f9a1", "version": "0.5.0", "config": "9f3c11"}
_IDENTITY = {name: ALWAYS[name] for name in ("boot", "version", "config")}


def entries(rng: random.Random, count: int) -> Iterator[Entry]:
    """What `server.middleware.access` would log of `count` questions, nearly all answered."""
    for _ in range(count):
        bits = f"{rng.getrandbits(128):032x}"
        failed = rng.random() < 0.01
        yield (
            f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:]}",
            {
                "method": "POST",
                "route": "/api/v1/chat",
                "path": "/api/v1/chat",
                "status": 503 if failed else 200,
                "outcome": "server_error" if failed else "ok",
                "duration_ms": round(rng.lognormvariate(1.5, 0.8), 3),
                "bytes": rng.randrange(900, 2_400),
                "client": f"{rng.getrandbits(48):012x}",
                "ua_family": rng.choice(("Chrome", "Firefox", "Safari")),
                "inflight": rng.randrange(1, 20),
                "loop_lag_ms": round(rng.random(), 3),
                "db_ms": round(rng.lognormvariate(0, 0.5), 3),
                "db_calls": 2,
                "retrieval_ms": round(rng.lognormvariate(0.5, 0.5), 3),
            },
        )


@asynccontextmanager
async def floor(folder: Path, now: Callable[[], datetime | str] | None = None) -> AsyncIterator[Way]:
    """The least there is to do. A `datetime` that orjson writes out is the quickest timestamp that is new for each event."""
    file = os.open(folder / "floor.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    buffer = bytearray()
    numbers = itertools.count(1)
    now = now or partial(datetime.now, UTC)
    service, boot, version, config = ALWAYS.values()

    def emit(slice_: list[Entry]) -> None:
        nonlocal buffer
        for request_id, fields in slice_:
            buffer += orjson.dumps(
                {
                    "timestamp": now(),
                    "level": "INFO",
                    "service": service,
                    "event": "http_request",
                    "request_id": request_id,
                    "boot": boot,
                    "seq": next(numbers),
                    "version": version,
                    "config": config,
                    **fields,
                },
                None,
                orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z,
            )
        os.write(file, buffer)
        buffer.clear()

    yield Way(lambda slice_: partial(emit, slice_))
    os.close(file)


def _kept() -> Callable[[], str]:
    """A timestamp as text, made anew only when the millisecond is another."""
    last, text = 0, ""

    def now() -> str:
        nonlocal last, text
        millisecond = time.time_ns() // 1_000_000
        if millisecond != last:
            last, text = millisecond, datetime.now(UTC).isoformat(timespec="milliseconds")
        return text

    return now


@asynccontextmanager
async def chatkit(folder: Path) -> AsyncIterator[Way]:
    import server.middleware.access  # noqa: F401 - declares `http_request`
    from pipeline.context import Request, bound
    from pipeline.eventlog import EventLog
    from pipeline.log import log

    log.identify(**_IDENTITY)
    events = await EventLog(folder).open()
    with bound(Request("")):
        variable = _variable("chatkit_request")

    def emit(slice_: list[tuple[Request, dict[str, Any]]]) -> None:
        for request, fields in slice_:
            variable.set(request)
            log.info("http_request", **fields)

    def room() -> bool:
        status = events.status()
        return status.ring_used_bytes < status.ring_bytes / 2

    yield Way(
        lambda slice_: partial(emit, [(Request(request_id), fields) for request_id, fields in slice_]), room
    )
    counted = events.figures().totals().requests
    assert await events.close(30)
    assert counted == SLICE * SLICES, f"the windows counted {counted}"


@asynccontextmanager
async def structlog(folder: Path) -> AsyncIterator[Way]:
    """As its documentation recommends for speed."""
    import structlog
    from structlog.contextvars import bind_contextvars

    file = (folder / "structlog.jsonl").open("wb")
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(file=file),
    )
    logger = structlog.get_logger().bind(**ALWAYS)
    bind_contextvars(request_id="")
    variable = _variable("structlog_request_id")
    numbers = itertools.count(1)

    def emit(slice_: list[Entry]) -> None:
        for request_id, fields in slice_:
            variable.set(request_id)
            logger.info("http_request", seq=next(numbers), **fields)

    yield Way(lambda slice_: partial(emit, slice_))
    file.close()


def _variable(name: str) -> ContextVar[Any]:
    """The context variable of that name: it is set as quickly as it can be."""
    return next(variable for variable in copy_context() if variable.name == name)


@asynccontextmanager
async def stdlib(folder: Path) -> AsyncIterator[Way]:
    """The library's own way not to wait: a queue, and a thread that formats and writes."""
    from pythonjsonlogger.orjson import OrjsonFormatter

    handler = logging.FileHandler(folder / "stdlib.jsonl")
    handler.setFormatter(
        OrjsonFormatter(
            ["levelname", "message"],
            rename_fields={"levelname": "level", "message": "event"},
            static_fields=ALWAYS,
            timestamp=True,
        )
    )
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = QueueListener(waiting, handler)
    listener.start()
    logger = logging.getLogger("bench")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(QueueHandler(waiting))
    numbers = itertools.count(1)

    def emit(slice_: list[Entry]) -> None:
        for request_id, fields in slice_:
            logger.info("http_request", extra={"request_id": request_id, "seq": next(numbers), **fields})

    yield Way(lambda slice_: partial(emit, slice_))
    listener.stop()
    handler.close()


@asynccontextmanager
async def loguru(folder: Path) -> AsyncIterator[Way]:
    from loguru import logger

    logger.remove()
    logger.add(folder / "loguru.jsonl", enqueue=True, serialize=True)
    logger.configure(extra=ALWAYS)
    numbers = itertools.count(1)

    def emit(slice_: list[Entry]) -> None:
        for request_id, fields in slice_:
            logger.bind(request_id=request_id, seq=next(numbers), **fields).info("http_request")

    yield Way(lambda slice_: partial(emit, slice_))
    logger.complete()
    logger.remove()


CONTENDERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Way]]] = {
    "the floor": floor,
    "the floor, timestamps kept for a ms": lambda folder: floor(folder, _kept()),
    "ChatKit": chatkit,
    "structlog, orjson": structlog,
    "stdlib queue, orjson": stdlib,
    "loguru": loguru,
}


async def measured(name: str, folder: Path) -> Figures:
    """Let one contender write all its slices; its microseconds for an event, at the caller and in all."""
    slices = SLICES_OF.get(name, SLICES)
    made = entries(random.Random(20260101), SLICE * slices)
    given = [list(itertools.islice(made, SLICE)) for _ in range(slices)]
    async with CONTENDERS[name](folder) as way:
        prepared = [way.ready(slice_) for slice_ in given]
        gc.collect()
        gc.freeze()  # What was made ready is not the contender's rubbish to look through.
        taken = []
        began = _cpu()
        for emit in prepared:
            started = time.thread_time_ns()
            emit()
            taken.append(time.thread_time_ns() - started)
            await asyncio.sleep(PAUSE_SECONDS)
            while not way.room():
                await asyncio.sleep(PAUSE_SECONDS)
    ended = _cpu()
    _check(folder, given)
    return {
        "caller_us": statistics.median(taken) / SLICE / 1e3,
        "all_us": (ended - began) / SLICE / slices * 1e6,
    }


def _cpu() -> float:
    """Seconds that this process and its children have spent."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _check(folder: Path, given: list[list[Entry]]) -> None:
    """Every event is in the file, once, in order, with all that it should hold."""
    written = [
        json.loads(line)
        for file in folder.glob("*.jsonl")
        for line in file.read_bytes().splitlines()
        if b"http_request" in line
    ]
    expected = [entry for slice_ in given for entry in slice_]
    assert len(written) == len(expected), f"{len(written)} of {len(expected)} events are in the file"
    for line, (request_id, fields) in zip(written, expected, strict=True):
        # loguru keeps what it was given in a record of its own.
        event = line["record"]["extra"] if "record" in line else line
        assert event.items() >= (fields | ALWAYS | {"request_id": request_id}).items(), event


def main() -> dict[str, Any]:
    """Measure and print."""
    rounds = interleaved({name: partial(apart, __spec__.name, name) for name in CONTENDERS}, ROUNDS)
    rows = medians(rounds)

    def compared(figure: str, other: str) -> float:
        return ratio(rounds, figure, "ChatKit", other)

    for name, figures in rows.items():
        figures["caller_floors"] = ratio(rounds, "caller_us", name, "the floor")
        figures["all_floors"] = ratio(rounds, "all_us", name, "the floor")
    promises = [
        Promise("at the caller / the floor", compared("caller_us", "the floor"), 1.9),
        Promise("at the caller / structlog", compared("caller_us", "structlog, orjson"), 0.5),
        Promise("at the caller / stdlib", compared("caller_us", "stdlib queue, orjson"), 0.35),
        Promise("in all / the floor", compared("all_us", "the floor"), 2.4),
    ]
    columns = {
        "caller_us": "caller, µs",
        "all_us": "in all, µs",
        "caller_floors": "caller/floor",
        "all_floors": "in all/floor",
    }
    print(table(rows, columns), told(promises), sep="\n\n")
    return report(rows, promises)


if __name__ == "__main__":
    if sys.argv[1:]:
        with (
            tempfile.TemporaryDirectory() as temporary,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            print(json.dumps(runner.run(measured(sys.argv[1], Path(temporary)))))
    else:
        main()
