"""How long until the next attempt: longer each time, and never the same for many.

Each wait is drawn from between half and all of ``5 s · 2^(attempts - 1)``, at most 15 minutes. Doubling spares a server that is in trouble;
the drawing keeps letters that failed together from coming back together.
"""

import random

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 15 * 60.0
PROBE_SECONDS = 60.0
"""The longest wait of a worker before it asks again whether a mail server is back that nobody reaches."""

_DOUBLINGS = 16
"""More would make no difference."""


def wait_seconds(attempts: int, longest: float = LONGEST_SECONDS) -> float:
    """Seconds to wait after so many attempts, from 1."""
    most = min(longest, FIRST_SECONDS * 2 ** min(attempts - 1, _DOUBLINGS))
    return random.uniform(most / 2, most)  # noqa: S311 - nobody gains by guessing it
