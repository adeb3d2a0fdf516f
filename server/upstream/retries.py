"""Whether and when a call is made again: seldom, soon, and never against the upstream's word."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .failures import LLMFailure

RETRIES = 2
"""So often at most; what fails three times in a second will fail a fourth."""
FIRST_SECONDS = 0.25
LONGEST_SECONDS = 3.0
"""An upstream that wants to be left alone for longer than this is not asked again while a visitor waits."""


def wait_before(
    failure: LLMFailure, retries: int, *, most: int = RETRIES, longest: float = LONGEST_SECONDS
) -> float | None:
    """How many seconds to wait before a call that failed, after so many `retries`, is made again; None for not at all.

    It is made again at `most` so often, and not where the upstream wants to be left alone for more than `longest` seconds.
    """
    if not failure.again or retries >= most:
        return None
    # Spread, so that those who failed together do not come back together.
    wait = FIRST_SECONDS * float(2**retries) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    asked = failure.retry_after
    if asked is None:
        return wait
    return asked + wait if asked <= longest else None


def retry_after(value: str, now: datetime | None = None) -> float | None:
    """`Retry-After` in seconds from now (RFC 9110, section 10.2.3: a number of seconds, or a date); None for anything else."""
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
