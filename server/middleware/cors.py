"""Who may read the answer: the sites that are allowed to embed the widget, to the letter.

A foreign origin gets its answer without permission to read it; its browser then shows nothing, and `cors_rejected` says why.
"""

from collections.abc import Awaitable

from aiohttp import hdrs, web

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.errors import Forbidden
from server.origins import Origins
from server.request import Exchange, Step, methods_at

from .access import origin_of

EXPOSED = "X-Request-ID, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
PUBLIC = "/widget/"
"""What any site may load; those files give the permission themselves."""
_ALLOWED_HEADERS = "Content-Type, Accept, X-Request-ID, Traceparent, Last-Event-ID, Authorization"
_PREFLIGHT_SECONDS = "600"

declare(
    [
        Event(
            "cors_rejected",
            "WARNING",
            "A page from an origin that is not in `CORS_ORIGINS` asked; its browser will not let it read the answer.",
            {"origin": Field("the origin"), "preflight": Field("whether it only asked for permission")},
        )
    ]
)


def cross_origin(origins: Origins) -> Step:
    """Let `origins` read answers."""

    def step(request: web.Request, served: Exchange) -> Awaitable[web.StreamResponse] | None:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or _is_own(request, origin) or request.path.startswith(PUBLIC):
            return None
        preflight = (
            request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        )
        if not origins.permit(origin):
            log.warning("cors_rejected", origin=origin_of(origin), preflight=preflight)
            if preflight:
                raise Forbidden(
                    "This origin may not use the server. Its administrator can add it to CORS_ORIGINS."
                )
            return None
        served.carry({hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin, hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED})
        return _preflight(request, served) if preflight else None

    return step


async def _preflight(request: web.Request, served: Exchange) -> web.StreamResponse:
    """What a page of an origin that may ask is allowed to send."""
    methods = await methods_at(request)
    served.carry(
        {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(sorted(methods)),
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _ALLOWED_HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: _PREFLIGHT_SECONDS,
        }
    )
    return web.Response(status=204)


def _is_own(request: web.Request, origin: str) -> bool:
    """Whether a page of this very server asks; browsers send `Origin` with its POSTs too."""
    return origin.partition("://")[2] == request.host
