"""What the middlewares know of a request for those further in, and what else can be asked of one."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from aiohttp import hdrs, web

from pipeline.context import Request, current

from .accounts.visitor import Visitor
from .errors import Unauthorized
from .limits.policy import Work

UNMATCHED = "unmatched"
"""The route of a request that no route matched, and the name of the resource that takes those."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Step = Callable[[web.Request, "Exchange"], Awaitable[web.StreamResponse | None] | None]
"""What is done with every request before its handler: it may raise, and it may answer in the handler's stead."""


Guard = Callable[[Handler, Work], Handler]
"""What is put around a handler that does some kind of work: it may refuse to ask it."""


Checks = Callable[[Handler, str, Work | None], Handler]
"""What is put around every handler, given the template of its route and its kind of work."""


class Exchange(Request):
    """One request being served, as every event knows it, and its answer as far as that is known.

    `method` is the request's, and `route` the template of the route that it matched; `address` is the client's, for as long as it is served
    and never for the log; `client` is a keyed hash of it; `visitor` is whose session was shown, or `refusal` what is wrong with it, if one
    was; `headers` are those that the answer will carry, whatever it turns out to be; `started` is the response whose first line has been
    sent, once there is one.
    """

    method: str = ""
    route: str = UNMATCHED
    address: str = ""
    client: str | None = None
    visitor: Visitor | None = None
    refusal: Unauthorized | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    started: web.StreamResponse | None = None

    def carry(self, headers: Mapping[str, str]) -> None:
        """Have the answer carry these headers too."""
        self.headers = {**self.headers, **headers}


def exchange() -> Exchange | None:
    """The exchange that this code is part of; None outside of the middlewares."""
    found = current()
    return found if isinstance(found, Exchange) else None


def visitor() -> Visitor | None:
    """Whose session the request shows; None when it shows none. Raises ``Unauthorized`` for one that does not hold."""
    served = exchange()
    assert served is not None, "access comes first"
    if served.refusal is not None:
        raise served.refusal
    return served.visitor


NONE_SHOWN = "This takes a session. Send it as Authorization: Bearer, followed by its token."


def somebody() -> Visitor:
    """Whose session the request shows. Raises ``Unauthorized`` when it shows none that holds."""
    who = visitor()
    if who is None:
        raise Unauthorized(NONE_SHOWN)
    return who


def account_holder() -> Visitor:
    """The same, when there is an account behind it. Raises ``Unauthorized`` also when there is none."""
    who = somebody()
    if who.anonymous:
        raise Unauthorized("This takes an account. Please sign in first.")
    return who


def shown_token(request: web.Request) -> str | None:
    """The token in `Authorization: Bearer …` (RFC 6750, section 2.1); None without one, or for another scheme."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def client_is_gone(request: web.Request) -> bool:
    """Whether the connection on which an answer would go is closed or closing."""
    return request.transport is None or request.transport.is_closing()


async def methods_at(request: web.Request) -> set[str]:
    """The methods for which some route takes the address of `request`; empty for an unknown address."""
    methods: set[str] = set()
    for resource in request.app.router.resources():
        if resource.name != UNMATCHED:
            methods |= (await resource.resolve(request))[1]
    return methods
