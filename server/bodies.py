"""What comes in: a body or a query becomes a checked model, or an error that names each field.

Nothing a client can send makes it raise anything else.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from aiohttp import web
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

BODY_SECONDS = web.AppKey("body_seconds", float)
"""How long a client may take to send a body."""

Model = TypeVar("Model", bound=BaseModel)

# Fields whose limit has a code of its own in the HTTP contract.
_TOO_LONG: dict[tuple[str, ...], type[InvalidRequest]] = {
    ("message",): MessageTooLong,
    ("context", "selected_text"): SelectedTextTooLong,
}


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
    return _checked(parsed, model)


def read_query(request: web.Request, model: type[Model]) -> Model:
    """What stands behind the `?` of `request` as `model`. Raises ``InvalidRequest`` also for what is there twice."""
    query = request.query
    twice = sorted({name for name in query if len(query.getall(name)) > 1})
    if twice:
        raise InvalidRequest(
            f"The request is not valid: see {', '.join(twice[:5])}.",
            details=[Detail(field=name, problem="Is there more than once.") for name in twice[:5]],
        )
    return _checked(dict(query), model)


def _checked(given: Any, model: type[Model]) -> Model:
    try:
        return model.model_validate(given)
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
