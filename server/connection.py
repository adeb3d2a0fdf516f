"""Where bytes become requests: what cannot be parsed is refused here, with an ID, and recorded.

Such bytes reach no middleware, so aiohttp's own answer to them would be without an ID, an envelope and an event. aiohttp makes
its protocol in `Server.__call__`; this is the one place where we put our own in its stead.
"""

from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from pipeline.catalogue import Event, Field, declare
from pipeline.context import Request, bound
from pipeline.exceptions import EXCEPTION_FIELDS, describe
from pipeline.log import log

from .answers import json_response
from .errors import ChatKitError, InternalError, InvalidRequest
from .headers import REQUEST_ID
from .middleware.request_id import mint
from .middleware.security import Addresses
from .request import Handler

declare(
    [
        Event(
            "http_rejected",
            "WARNING",
            "Bytes that are no HTTP request, or not one we take; answered with 400 and closed.",
            {
                "reason": Field("what the parser found, as the type of its exception"),
                "status": Field("the status sent"),
                "client": Field("a keyed hash of the client's address"),
            },
        ),
        Event(
            "connection_error",
            "ERROR",
            "A bug outside every middleware: an exception while a request was routed or answered.",
            EXCEPTION_FIELDS,
        ),
    ]
)


class Connection(RequestHandler):
    """aiohttp's protocol with our own answer to what goes wrong before and around the middlewares."""

    __slots__ = ("_addresses",)

    def __init__(self, server: web.Server, addresses: Addresses, **options: Any) -> None:
        super().__init__(server, **options)
        self._addresses = addresses

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What aiohttp has to complain of; a body that its sender broke is no failure of ours, and its request has its event."""
        if not isinstance(kw.get("exc_info"), (web.RequestPayloadError, HttpProcessingError)):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's words are not for the client
    ) -> web.StreamResponse:
        """The envelope for what no middleware saw; it closes the connection."""
        answer: ChatKitError
        with bound(Request(mint())) as context:
            if isinstance(exc, HttpProcessingError):
                client = self._addresses.hashed(request.remote or "")
                log.warning("http_rejected", reason=type(exc).__name__, status=status, client=client)
                answer = InvalidRequest("This is not a valid HTTP request.")
            else:
                log.error("connection_error", **(describe(exc) if exc is not None else {}))
                answer = InternalError()
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun")
        headers: dict[str, str] = {REQUEST_ID: context.request_id}
        response = json_response(answer.envelope(context.request_id), status=answer.status, headers=headers)
        response.force_close()
        return response


class _Server(web.Server):
    """aiohttp's `Server`, taken over as it is, that makes our connections."""

    def __init__(
        self, server: web.Server, addresses: Addresses, around: Callable[[Handler], Handler]
    ) -> None:
        super().__init__(
            cast("Any", around(cast("Handler", server.request_handler))),
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            loop=server._loop,  # noqa: SLF001 - see above
            **server._kwargs,  # noqa: SLF001
        )
        self._addresses = addresses

    def __call__(self) -> Connection:
        return Connection(self, self._addresses, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An `AppRunner` whose connections are ours, with the outer middlewares `around` the application."""

    __slots__ = ("_addresses", "_around")

    def __init__(
        self,
        app: web.Application,
        addresses: Addresses,
        around: Callable[[Handler], Handler],
        **options: Any,
    ) -> None:
        super().__init__(app, access_log=None, **options)
        self._addresses = addresses
        self._around = around

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._addresses, self._around)
