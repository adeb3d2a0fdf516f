"""A process that logs for its life: each number that `emit` returned from goes into a pipe, which outlives it.

    python -m tests.faults.emitter LOG_DIR STATE_DIR BOOT FIRST LEDGER [--durable] [--seconds S] [--level LEVEL]

It logs `emitted` with n = FIRST, FIRST + 1, … for S seconds, or until it is killed; the numbers go to the file descriptor LEDGER
as 8 bytes each.
"""

import argparse
import asyncio
import os
import time
from pathlib import Path

from pipeline.eventlog import EventLog
from pipeline.log import NotDurable, log
from pipeline.stream import Rotation


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
    parser.add_argument("--segment-bytes", type=int, default=50_000)
    parser.add_argument("--ring-bytes", type=int, default=1 << 20)
    options = parser.parse_args()
    log.identify(boot=options.boot, version="test", config="test")
    events = await EventLog(
        options.folder,
        state=options.state,
        rotation=Rotation(options.segment_bytes, 3600),
        ring_bytes=options.ring_bytes,
        linger_seconds=0.001,
    ).open()
    emit = getattr(log, options.level)
    number, end = options.first, time.monotonic() + options.seconds
    while time.monotonic() < end:
        for _ in range(1 if options.durable else 20):
            if options.durable:
                try:
                    await log.durable("emitted", n=number, text="x" * (number % 300))
                except NotDurable:
                    await asyncio.sleep(0.01)
                    number += 1
                    continue
            else:
                emit("emitted", n=number, text="x" * (number % 300))
            os.write(options.ledger, number.to_bytes(8, "little"))
            number += 1
        await asyncio.sleep(options.pause)
    await events.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
