"""A bug, told once: the `unhandled_exception` event, whoever catches it."""

from pipeline.catalogue import Event, Field, declare
from pipeline.context import note
from pipeline.exceptions import EXCEPTION_FIELDS, describe
from pipeline.log import log

from .request import UNMATCHED, exchange

declare(
    [
        Event(
            "unhandled_exception",
            "ERROR",
            "A bug: an exception that nothing expected. The client saw `internal_error` and the request's ID.",
            {
                "method": Field("the request's method"),
                "route": Field("its route, as a template"),
                **EXCEPTION_FIELDS,
            },
        )
    ]
)


def report_exception(error: BaseException) -> None:
    """Record `error` and mark the canonical event of the request that is served with its fingerprint."""
    told, served = describe(error), exchange()
    method, route = ("", UNMATCHED) if served is None else (served.method, served.route)
    note(error=told["fingerprint"], outcome="server_error")
    log.error("unhandled_exception", method=method, route=route, **told)
