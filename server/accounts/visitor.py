"""Who asks, as every service knows it: what a session says, never what a body claims."""

from dataclasses import dataclass
from enum import IntEnum


class Tier(IntEnum):
    """What a visitor may do, and how often; a higher one may do all that a lower one may."""

    ANONYMOUS = 0
    LIGHTWEIGHT = 1  # an address that was verified
    FULL = 2  # signed in with an identity provider
    PREMIUM = 3


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a session.

    `id` is the account's, or for an anonymous visitor its own; what belongs to somebody belongs to that. `session` names the session (it is
    no secret and opens nothing), which holds until `expires_at`, in milliseconds since 1970. `email` is the account's address.
    """

    id: str
    tier: Tier
    session: str
    expires_at: int
    email: str | None = None

    @property
    def anonymous(self) -> bool:
        """Whether there is no account behind it."""
        return self.tier is Tier.ANONYMOUS
