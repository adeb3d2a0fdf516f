"""The middlewares, outermost first, and why in this order.

    request_id   first, so that everything after it, whatever goes wrong, has an ID to be found by
    access       next, so that it sees how every request ended and how long all of the rest took
    errors       inside access: whatever is raised further in becomes an answer, and is sent, before access looks at it
    security     who asks, and whether over HTTPS: refused here, before any work is done
    cors         who may read the answer; preflights end here
    (limits)     how often: after security, which knows the client, and before the handler, which costs something

Headers of a response are decided on the way in, kept in `request[HEADERS]`, and stamped when the response starts
(`headers.stamp`), so that streams and errors carry them like everything else.
"""

from aiohttp import web

from .access import Meter, access
from .cors import cross_origin
from .errors import errors
from .headers import stamp
from .request_id import request_ids
from .security import Addresses, security

__all__ = ["Addresses", "Meter", "install"]


def install(
    app: web.Application,
    *,
    meter: Meter,
    addresses: Addresses,
    https_only: bool,
    allowed_origins: frozenset[str],
    any_localhost: bool,
) -> None:
    """Put the middlewares on `app`."""
    app.middlewares.extend(
        [
            request_ids(),
            access(meter),
            errors(),
            security(addresses, https_only=https_only),
            cross_origin(allowed_origins, any_localhost=any_localhost),
        ]
    )
    app.on_response_prepare.append(stamp)
