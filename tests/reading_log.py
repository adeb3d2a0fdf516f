"""The events that a test causes, as a reader of the log would see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from pipeline.log import NotDurable, log


class _Lines:
    def __init__(self, *, durable: bool) -> None:
        self.events: list[dict[str, Any]] = []
        self.durable = durable

    def accept(self, line: bytes, level: int, seq: int, *_: Any) -> int:  # noqa: ARG002
        self.events.append(orjson.loads(line))
        return seq

    def check_durable(self) -> None:
        if not self.durable:
            raise NotDurable

    async def flushed(self, number: int) -> None:  # noqa: ARG002
        self.check_durable()


@contextmanager
def events(*, durable: bool = False) -> Iterator[list[dict[str, Any]]]:
    """Every event written within the block; with `durable` on a disk that takes them."""
    lines = _Lines(durable=durable)
    log.direct(lines)
    try:
        yield lines.events
    finally:
        log.direct(None)
