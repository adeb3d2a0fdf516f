"""JSON in, JSON out: how a handler speaks HTTP.

`read_body` turns a body into a checked model or raises an error that names each field; nothing a client can send makes
it raise anything else. `json_response` encodes with orjson.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson
from aiohttp import hdrs, web
from multidict import CIMultiDict, istr
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .errors import (
    Detail,
    InvalidRequest,
    MessageTooLong,
    PayloadTooLarge,
    RequestTimedOut,
    SelectedTextTooLong,
    UnsupportedMediaType,
)

# What holds for every answer that does not say otherwise. An answer is data for a program: no page may frame it, run it
# or guess what it is. The widget and the demo page set their own. An `istr` knows its lower case, which halves a lookup.
SNIFFING = istr("X-Content-Type-Options")
DEFAULTS = CIMultiDict(
    {
        hdrs.SERVER: "ChatKit",
        SNIFFING: "nosniff",
        istr("X-Frame-Options"): "DENY",
        istr("Referrer-Policy"): "strict-origin-when-cross-origin",
        istr("Cross-Origin-Opener-Policy"): "same-origin",
        istr("Content-Security-Policy"): "default-src 'none'; frame-ancestors 'none'",
        hdrs.CACHE_CONTROL: "no-store",
    }
)
_JSON = CIMultiDict({hdrs.CONTENT_TYPE: "application/json; charset=utf-8", **DEFAULTS})

BODY_SECONDS = web.AppKey("body_seconds", float)
"""How long a client may take to send a body."""

Model = TypeVar("Model", bound=BaseModel)

# Fields whose limit has a code of its own in the HTTP contract.
_TOO_LONG: dict[tuple[str, ...], type[InvalidRequest]] = {
    ("message",): MessageTooLong,
    ("context", "selected_text"): SelectedTextTooLong,
}


def json_response(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """`body` (anything orjson encodes, or a pydantic model) as an answer."""
    if isinstance(body, BaseModel):
        body = body.model_dump(mode="json")
    # The headers are copied at once, which costs less than setting them one by one when the answer is sent.
    response = web.Response(body=orjson.dumps(body), status=status, headers=_JSON)
    if headers:
        response.headers.update(headers)
    return response


async def read_body(request: web.Request, model: type[Model]) -> Model:
    """The body of `request` as `model`.

    Raises ``UnsupportedMediaType`` for anything but JSON, ``PayloadTooLarge``, ``RequestTimedOut``, and
    ``InvalidRequest`` (or its kin for a field over its limit) for what is not JSON or not the model.
    """
    if request.content_type != "application/json":
        raise UnsupportedMediaType("The body must be JSON. Send it with Content-Type: application/json.")
    try:
        async with asyncio.timeout(request.app[BODY_SECONDS]):
            raw = await request.read()
    except TimeoutError:
        raise RequestTimedOut(
            "The body did not arrive in time. Please send the request again.", headers={"Connection": "close"}
        ) from None
    except web.HTTPRequestEntityTooLarge as refused:
        raise PayloadTooLarge("The body is too large.") from refused
    except web.RequestPayloadError as broken:
        raise InvalidRequest("The body could not be read: its encoding or its chunks are broken.") from broken
    try:
        parsed: Any = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON (character {error.pos}).") from None
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_input=False)) from None


def refusal(problems: Sequence[ErrorDetails]) -> InvalidRequest:
    """The error for what pydantic found, naming each field and never its value."""
    details = [
        Detail(field=".".join(map(str, problem["loc"])) or "body", problem=_sentence(problem))
        for problem in problems
    ]
    for problem in problems:
        location = tuple(map(str, problem["loc"]))
        if problem["type"] == "string_too_long" and location in _TOO_LONG:
            limit = problem["ctx"]["max_length"]
            return _TOO_LONG[location](
                f"{location[-1].replace('_', ' ').capitalize()} is too long: at most {limit:,} characters.",
                details=details,
            )
    fields = ", ".join(detail["field"] for detail in details[:5])
    return InvalidRequest(f"The request is not valid: see {fields}.", details=details)


def _sentence(problem: ErrorDetails) -> str:
    """The message of pydantic, which says what was expected."""
    if problem["type"] == "extra_forbidden":
        return "There is no such field."
    return problem["msg"].removeprefix("Value error, ") + "."
