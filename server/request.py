"""What the middlewares leave on a request for those further in, and what else can be asked of one."""

import functools
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Middleware(Protocol):
    """What aiohttp calls; the second parameter must have this name."""

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer `request`, by `handler` or without it."""


REQUEST_ID = web.RequestKey("request_id", str)
"""The ID that answer, events and widget share."""

HEADERS = web.RequestKey("response_headers", dict[str, str])
"""The headers that the response will carry, whatever it turns out to be."""

CLIENT = web.RequestKey("client", str)
"""A keyed hash of the client's address."""

STARTED = web.RequestKey("response_started", web.StreamResponse)
"""The response whose first line has been sent, once there is one."""

UNMATCHED = "unmatched"
"""The route of a request that no route matched, and the name of the resource that takes those."""


def client_is_gone(request: web.Request) -> bool:
    """Whether the connection on which an answer would go is closed or closing."""
    return request.transport is None or request.transport.is_closing()


def route_of(request: web.Request) -> str:
    """The template of the route that `request` matched."""
    return _template(request.match_info.route.resource)


@functools.lru_cache
def _template(resource: web.AbstractResource | None) -> str:
    return UNMATCHED if resource is None or resource.name == UNMATCHED else resource.canonical


async def methods_at(request: web.Request) -> set[str]:
    """The methods for which some route takes the address of `request`; empty for an unknown address."""
    methods: set[str] = set()
    for resource in request.app.router.resources():
        if resource.name != UNMATCHED:
            methods |= (await resource.resolve(request))[1]
    return methods
