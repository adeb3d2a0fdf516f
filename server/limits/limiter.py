"""The seam between asking and counting: what a limiter is asked, and what it decides.

The windows move: what counts is what was allowed in the last so many seconds. So there is no edge at which twice as much gets
through, what is refused is not held against anybody, and `seconds` can be true: it is when the oldest that counts will
have left its window.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol, Self

from .keys import Key
from .policy import Policy, Rate


class Decision(NamedTuple):
    """Whether it is allowed, and how the tightest of all limits that were asked stands after it.

    `policy` and `kind` name that limit, `limit` is its amount, `remaining` how many more it allows now, and `seconds` (1 or more)
    is when it will allow one more than that. Who was refused and waits so long is let in, if nobody with the same key was faster.
    """

    allowed: bool
    policy: str
    kind: str
    limit: int
    remaining: int
    seconds: int

    @classmethod
    def tightest(cls, standings: Iterable[Self]) -> Self:
        """The one of them that matters: refused before allowed, then the fewest remaining, then the longest wait."""
        return min(standings, key=lambda one: (one.allowed, one.remaining, -one.seconds))


class Limiter(Protocol):
    """Counts. Every implementation passes `tests/contract/test_limiter.py`."""

    async def hit(self, policy: Policy, *keys: Key) -> Decision:
        """Count one for each of the `keys` (at least one) if every rate of `policy` has room for each; otherwise for none of them."""


def standing(policy: Policy, key: Key, rate: Rate, before: int, left: float) -> Decision:
    """How one limit stands that has `before` hits in its window, of which the one that gives way next has `left` seconds in it."""
    limit = rate.amount * key.times
    allowed = before < limit
    remaining = limit - before - 1 if allowed else 0
    # A millisecond more, because clocks are coarse; and never more than the window, after which all of it has left.
    seconds = max(1, min(rate.seconds, math.ceil(left + 0.001)))
    return Decision(allowed, policy.name, key.kind, limit, remaining, seconds)
