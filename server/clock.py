"""What time it is, for what is kept longer than a process lives."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]
"""Milliseconds since 1970, UTC."""

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def wall_clock() -> int:
    """What the machine says."""
    return time.time_ns() // 1_000_000


def told(at: int) -> str:
    """`at` as the API and the log write it: ISO 8601, UTC, with milliseconds."""
    return datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
