"""The events that a test causes, as a reader of the log would see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from pipeline.log import log


class _Lines:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def accept(self, line: bytes, level: int, seq: int, observation: object) -> None:  # noqa: ARG002 - the seam
        self.events.append(orjson.loads(line))


@contextmanager
def events() -> Iterator[list[dict[str, Any]]]:
    """Every event written within the block."""
    lines = _Lines()
    log.direct(lines)
    try:
        yield lines.events
    finally:
        log.direct(None)
