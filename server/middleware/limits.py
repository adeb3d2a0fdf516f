"""How often: a request for a limited kind of work is counted before its handler costs anything.

A user is counted as such, wherever they are. An anonymous visitor is counted twice, by session and by address, and both must have
room: a session that moves takes its count along, and a fresh session for each request helps nobody.

Every answer tells how the tightest limit stands, in the three fields of draft-ietf-httpapi-ratelimit-headers-03:
`RateLimit-Limit`, `RateLimit-Remaining`, and `RateLimit-Reset`, the seconds until there is room for one more than now.
"""

import functools

from aiohttp import web

from server.accounts.visitor import Tier
from server.limits.keys import Key, Keys
from server.limits.limiter import Decision
from server.limits.policy import POLICIES, SHARED_TIMES, Work
from server.limits.service import Limits, refusal
from server.request import Exchange, Guard, Handler, exchange

from .security import Network, is_in, network_of


class Callers:
    """Finds out who is to be counted. `shared` are the networks whose addresses many visitors have in common."""

    def __init__(self, keys: Keys, shared: tuple[Network, ...] = ()) -> None:
        self._keys = keys
        self._shared = shared
        # An instance's own cache: bounded, so that no range of addresses can make it grow.
        self._address = functools.lru_cache(maxsize=4096)(self._address_of)

    def of(self, served: Exchange) -> tuple[Key, ...]:
        """Whoever asked, each of whom must have room."""
        visitor = served.visitor
        if visitor is None:
            return (self._address(served.address),)
        if visitor.anonymous:
            return self._keys.session(visitor.id), self._address(served.address)
        return (self._keys.user(visitor.id),)

    def _address_of(self, address: str) -> Key:
        times = SHARED_TIMES if is_in(address, self._shared) else 1
        return self._keys.address(network_of(address), times)


def limits(counting: Limits, callers: Callers) -> Guard:
    """Let through what `counting` allows to those who ask, and refuse the rest with 429."""

    def guard(handler: Handler, work: Work) -> Handler:
        if not counting.enforced:
            return handler
        policies = POLICIES[work]

        async def limited(request: web.Request) -> web.StreamResponse:
            served = exchange()
            assert served is not None, "access comes first"
            policy = policies[served.visitor.tier if served.visitor is not None else Tier.ANONYMOUS]
            if policy is not None:
                decision = await counting.hit(policy, *callers.of(served))
                served.carry(headers(decision))
                if not decision.allowed:
                    raise refusal(decision)
            return await handler(request)

        return limited

    return guard


def headers(decision: Decision) -> dict[str, str]:
    """How the tightest limit stands, as an answer says it."""
    return {
        "RateLimit-Limit": str(decision.limit),
        "RateLimit-Remaining": str(decision.remaining),
        "RateLimit-Reset": str(decision.seconds),
    }
