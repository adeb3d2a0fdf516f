"""Counting, as middlewares and services use it: shared where there is Redis, in this process where there is none or it is away.

While Redis is away each worker counts for itself, so what is asked of N workers can be allowed up to N times as often: a site whose
visitors can ask is worth more than an exact count. Only what sends mail to others is refused until the counts are back, because there
"too often" harms somebody who asked for nothing.
"""

from pipeline.catalogue import Event, Field, declare
from pipeline.context import note
from server.errors import RateLimited, ServiceUnavailable

from .keys import Key
from .limiter import Decision
from .memory import MemoryLimiter
from .policy import Policy
from .redis import LimiterUnavailable, RedisLimiter

declare(
    [
        Event(
            "limits_not_shared",
            "WARNING",
            "Several workers each count for themselves, because `REDIS_URL` is not set: a visitor can be allowed so many times as often.",
            {"workers": Field("how many there are")},
        )
    ]
)

UNAVAILABLE_SECONDS = 5
"""When to try again what is refused because Redis is away; it is looked for each second."""


class Limits:
    """Counts in `shared`, if there is one, else in `local`; what is not `enforced` nobody need ask for."""

    def __init__(
        self, local: MemoryLimiter, shared: RedisLimiter | None = None, *, enforced: bool = True
    ) -> None:
        self.enforced = enforced
        self._local = local
        self._shared = shared

    async def hit(self, policy: Policy, *keys: Key) -> Decision:
        """Count one for each of `keys`, if all have room. Raises ``ServiceUnavailable`` where `policy` fails closed and must."""
        if self._shared is not None:
            try:
                return await self._shared.hit(policy, *keys)
            except LimiterUnavailable:
                if policy.fails_closed:
                    raise ServiceUnavailable(
                        "This is not possible just now. Please try again in a moment.",
                        retry_after=UNAVAILABLE_SECONDS,
                    ) from None
        return await self._local.hit(policy, *keys)

    async def spend(self, policy: Policy, *keys: Key) -> None:
        """The same, for a service. Raises ``RateLimited``, with its `retry_after` in seconds, and ``ServiceUnavailable`` as above.

        A service that sends mail asks ``await limits.spend(VERIFICATION_MAIL, keys.email(address))`` before it does.
        """
        if self.enforced and not (decision := await self.hit(policy, *keys)).allowed:
            raise refusal(decision)


def refusal(decision: Decision) -> RateLimited:
    """What whoever is refused hears; the request's canonical event says it too."""
    note(limit=decision.policy, limited_by=decision.kind, retry_after=decision.seconds)
    return RateLimited(
        f"That was a lot in a short time. Please try again in {_seconds(decision.seconds)}.",
        retry_after=decision.seconds,
    )


def _seconds(seconds: int) -> str:
    """As people say it."""
    if seconds < 120:
        return f"{seconds} second{'s' if seconds > 1 else ''}"
    minutes = -(-seconds // 60)
    return f"{minutes} minutes" if minutes < 120 else f"{-(-minutes // 60)} hours"
