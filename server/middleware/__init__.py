"""The middlewares, outermost first, and why in this order.

    access       so that every request, whatever goes wrong, has an ID to be found by (request_id), and so that its end is seen
                 and how long all of the rest took
    errors       whatever is raised further in becomes an answer, and is sent, before access looks at it
      security   who asks, and whether over HTTPS: refused here, before any work is done
      cors       who may read the answer; preflights end here
      (limits)   how often: after security, which knows the client, and before the handler, which costs something

What only looks at a request before its handler is a step of `errors` and no middleware of its own: each of those costs every
request a coroutine.

Headers of a response are decided on the way in, kept in the exchange, and stamped when the response starts
(`server.headers`), so that streams and errors carry them like everything else.
"""

from aiohttp import web

from .access import Meter, access
from .cors import cross_origin
from .errors import errors
from .headers import started
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
    steps = (
        security(addresses, https_only=https_only),
        cross_origin(allowed_origins, any_localhost=any_localhost),
    )
    app.middlewares.extend([access(meter), errors(*steps)])
    app.on_response_prepare.append(started)
