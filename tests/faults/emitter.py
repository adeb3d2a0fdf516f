"""A process that logs for its life: what became of each event goes into a pipe, which outlives it.

    python -m tests.faults.emitter LOG_DIR STATE_DIR BOOT FIRST LEDGER [--durable] [--seconds S] [--level LEVEL] …

It logs `emitted` with n = FIRST, FIRST + 1, … for S seconds, or until it gets SIGTERM or is killed. For each one 16 bytes go to the
file descriptor LEDGER: n once `emit` returned, or -n when a durable one was refused; and the monotonic clock's nanoseconds.
"""

import argparse
import asyncio
import os
import signal
import struct
import time
from pathlib import Path

from pipeline.eventlog import EventLog
from pipeline.log import NotDurable, log
from pipeline.writing.stream import Rotation
from tests.faults.unprotected import PROTECTIONS

ENTRY = struct.Struct("=qq")


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("state", type=Path)
    parser.add_argument("boot")
    parser.add_argument("first", type=int)
    parser.add_argument("ledger", type=int)
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--level", default="info")
    parser.add_argument("--pause", type=float, default=0.001)
    parser.add_argument("--burst", type=int, default=20)
    parser.add_argument("--segment-bytes", type=int, default=50_000)
    parser.add_argument("--ring-bytes", type=int, default=1 << 20)
    parser.add_argument("--eat", action="store_true", help="more and more memory")
    parser.add_argument("--close-seconds", type=float, default=5)
    parser.add_argument("--without", choices=PROTECTIONS, help="take that protection away")
    options = parser.parse_args()
    if options.without:
        PROTECTIONS[options.without]()
    log.identify(boot=options.boot, version="test", config="test")
    events = await EventLog(
        options.folder,
        state=options.state,
        rotation=Rotation(options.segment_bytes, 3600),
        ring_bytes=options.ring_bytes,
        linger_seconds=0.001,
    ).open()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    emit = getattr(log, options.level)
    number = told = options.first
    end = time.monotonic() + options.seconds
    eaten: list[bytes] = []
    while time.monotonic() < end and not stopped.is_set():
        for _ in range(1 if options.durable else options.burst):
            told = number
            if options.durable:
                try:
                    await log.durable("emitted", n=number, text="x" * (number % 300))
                except NotDurable:
                    told = -number
            else:
                emit("emitted", n=number, text="x" * (number % 300))
            os.write(options.ledger, ENTRY.pack(told, time.monotonic_ns()))
            number += 1
        if options.eat:
            eaten.append(os.urandom(1 << 20))
        await asyncio.sleep(options.pause if told > 0 else 0.01)
    if not await events.close(options.close_seconds):
        os._exit(1)  # as the server does: a thread is still in a write
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
