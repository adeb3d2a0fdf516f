"""The middlewares, outermost first, and why in this order.

    access       so that every request, whatever goes wrong, has an ID to be found by (request_id), and so that its end is seen
                 and how long all of the rest took
    errors       whatever is raised further in becomes an answer, and is sent, before access looks at it
    (aiohttp)    finds the route
    checks       before the handler; each may refuse the request, or answer it:
      security   who asks, and whether over HTTPS
      cors       who may read the answer; preflights end here
      session    whose session is shown, on the addresses of the API
    guards       around a handler that does some kind of work (`server.limits.policy.Work`), and nothing to all others:
      overload   whether there is room: before anything is counted, so that who is refused has not used anything up
      limits     how often: after security, which knows the client, and before the handler, which costs something

The first two are around aiohttp's application and not in it, because what aiohttp refuses by itself passes none of its own
middlewares. The checks only look, so they share one coroutine, around each handler.

Headers of a response are decided on the way in, kept in the exchange, and stamped when the response starts
(`server.headers`), so that streams and errors carry them like everything else.
"""

from collections.abc import Callable, Sequence

from aiohttp import web

from server.limits.policy import Work
from server.request import Checks, Guard, Handler, Step, exchange

from .access import Meter, access
from .cors import cross_origin
from .errors import errors
from .headers import started
from .limits import Callers, limits
from .overload import Overload
from .security import Addresses, security
from .session import Find, session

__all__ = [
    "Addresses",
    "Callers",
    "Find",
    "Meter",
    "Overload",
    "around",
    "checks",
    "cross_origin",
    "limits",
    "security",
    "session",
    "started",
]


def around(meter: Meter) -> Callable[[Handler], Handler]:
    """What is put around an application."""
    return lambda application: access(meter, errors(application))


def checks(*steps: Step, guards: Sequence[Guard] = ()) -> Checks:
    """What is put around a handler, given the template of its route and its kind of work.

    The `steps`, in order, before it is asked; and if it does any work, between them and it the `guards`, the first of them outermost.
    """

    def checked(handler: Handler, route: str, work: Work | None) -> Handler:
        if work is not None:
            for guard in reversed(guards):
                handler = guard(handler, work)

        async def check(request: web.Request) -> web.StreamResponse:
            served = exchange()
            assert served is not None, "access comes first"
            served.route = route
            for step in steps:
                if (more := step(request, served)) is not None and (answer := await more) is not None:
                    return answer
            return await handler(request)

        return check

    return checked
