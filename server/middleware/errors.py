"""Everything becomes an answer, and is sent.

An error of the family becomes its envelope; aiohttp's own refusals become their counterpart in the family; anything else is
a bug, which the log hears in full and the client as `internal_error`. The response is sent here, not after the last
middleware, so that a failure to send is handled like any other, and `access` knows how it ended.

Once the first byte of an answer is out there is no second status line: a failure after that breaks the connection, which is how
a client can tell that what it has is not all.
"""

from aiohttp import hdrs, web

from pipeline.log import NotDurable
from server.answers import json_response
from server.errors import (
    ChatKitError,
    Forbidden,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimedOut,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from server.failures import report_exception
from server.request import Handler, client_is_gone, exchange

_FAMILY: dict[int, type[ChatKitError]] = {
    kind.status: kind
    for kind in (
        InvalidRequest,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        RequestTimedOut,
        PayloadTooLarge,
        UnsupportedMediaType,
        ServiceUnavailable,
    )
}
RETRY_SECONDS = 10
_KEPT = ("Allow", "Retry-After", "WWW-Authenticate")


def errors(handler: Handler) -> Handler:
    """`handler`, with the one envelope for whatever it raises; what it returns is sent."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
            await response.prepare(request)
            await response.write_eof()
            return response
        except (web.HTTPRedirection, web.HTTPSuccessful) as elsewhere:
            return await send(request, web.Response(status=elsewhere.status, headers=elsewhere.headers))
        except Exception as error:
            return await refuse(request, answer_to(error, request))

    return answered


def answer_to(error: Exception, request: web.Request) -> ChatKitError:
    """What the client hears of `error`; a bug is reported. Raises it again when the client is gone."""
    match error:
        case ChatKitError():
            return error
        case NotDurable():
            return ServiceUnavailable(
                "This cannot be recorded safely right now, so it was not done. Please try again later.",
                retry_after=RETRY_SECONDS,
            )
        case web.HTTPException():
            answer = translated(error)
        case ConnectionError() if client_is_gone(request):
            raise error
        case _:  # Also a connection that is not the client's, to something we depend on.
            answer = InternalError()
    if isinstance(answer, InternalError):
        report_exception(error)
    return answer


async def send(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Send all of `response`. Raises ``ConnectionError`` when the client is gone."""
    await response.prepare(request)
    await response.write_eof()
    return response


async def refuse(request: web.Request, answer: ChatKitError) -> web.StreamResponse:
    """Send the envelope, or break off what has begun."""
    served = exchange()
    assert served is not None, "access comes first"
    started = served.started
    # A response that could not even be put into bytes has sent nothing, and another may take its place.
    if started is not None and request.writer.output_size > 0:
        started.force_close()
        if request.transport is not None:
            request.transport.abort()
        return started
    headers = dict(answer.headers)
    if (retry_after := headers.pop(hdrs.RETRY_AFTER, None)) is not None:
        # Carried, it does not keep the answer from going out in one write: in overload most answers are of this kind.
        served.carry({hdrs.RETRY_AFTER: retry_after})
    envelope = answer.envelope(served.request_id)
    return await send(request, json_response(envelope, status=answer.status, headers=headers))


def translated(refused: web.HTTPException) -> ChatKitError:
    """The family's counterpart of one of aiohttp's own refusals."""
    headers = {name: refused.headers[name] for name in _KEPT if name in refused.headers}
    if refused.status >= 500 and refused.status != ServiceUnavailable.status:
        return InternalError()
    kind = _FAMILY.get(refused.status, InvalidRequest)
    return kind(_MESSAGES.get(kind, refused.reason), headers=headers)


_MESSAGES: dict[type[ChatKitError], str] = {
    NotFound: "There is nothing at this address.",
    PayloadTooLarge: "The body is too large.",
    InvalidRequest: "The request could not be understood.",
    ServiceUnavailable: "The service is not available just now. Please try again shortly.",
}
