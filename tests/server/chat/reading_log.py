"""The events that a test causes, as a reader of the log would see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from pipeline.log import NotDurable, log


class _Lines:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def accept(self, line: bytes, level: int, seq: int, *_: Any) -> int:  # noqa: ARG002
        self.events.append(orjson.loads(line))
        return seq

    def check_durable(self) -> None:
        raise NotDurable

    async def flushed(self, number: int) -> None:  # noqa: ARG002
        raise NotDurable


@contextmanager
def events() -> Iterator[list[dict[str, Any]]]:
    """Every event written within the block."""
    lines = _Lines()
    log.direct(lines)
    try:
        yield lines.events
    finally:
        log.direct(None)
