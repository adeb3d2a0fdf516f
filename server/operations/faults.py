"""Things that break on request, so that what is promised about them can be seen. Only in test mode.

/test/faults/exception          a handler raises something nobody expected
/test/faults/stream             a stream breaks after it began
/test/faults/drip               a stream that goes on, slowly
/test/faults/slow?seconds=2     an answer that takes its time
/test/faults/header             a response that cannot be sent as it is
/test/faults/busy?seconds=1     the event loop is blocked
"""

import asyncio
import time

from aiohttp import web

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.answers import json_response
from server.errors import InvalidRequest, NotFound

MAX_SECONDS = 30.0
DRIP_SECONDS = 0.05


declare(
    [
        Event(
            "fault_injected",
            "WARNING",
            "Test mode: something was asked to break.",
            {"kind": Field("what", free=True)},
        )
    ]
)


class InjectedFault(Exception):
    """A bug that was asked for."""


async def fault(request: web.Request) -> web.StreamResponse:
    """Break in the way that the address names."""
    kind = request.match_info["kind"]
    log.warning("fault_injected", kind=kind[:40])
    match kind:
        case "exception":
            try:
                raise OSError("password=hunter2 was refused")  # noqa: TRY301
            except OSError as error:
                raise InjectedFault("token=abcdef0123456789 could not be used") from error
        case "stream":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"the beginning of an answer\n")
            raise InjectedFault("in the middle of a stream")
        case "drip":
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(int(MAX_SECONDS / DRIP_SECONDS)):
                await response.write(b"drop\n")
                await asyncio.sleep(DRIP_SECONDS)
            return response
        case "slow":
            await asyncio.sleep(_seconds(request))
            return json_response({"status": "ok"})
        case "header":
            return web.Response(headers={"X-Broken": "a\nb"})
        case "busy":
            time.sleep(_seconds(request))  # noqa: ASYNC251
            return json_response({"status": "ok"})
    raise NotFound("There is no such fault.")


def _seconds(request: web.Request) -> float:
    try:
        seconds = float(request.query.get("seconds", "1"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_SECONDS:
        raise InvalidRequest(
            "The request is not valid: see seconds.",
            details=[{"field": "seconds", "problem": "A number from 0 to 30."}],
        )
    return seconds
