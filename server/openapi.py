"""`/openapi.json`, made from the table of routes and the models: it cannot say other than what the code does.

Format: OpenAPI 3.1, https://spec.openapis.org/oas/v3.1.0
"""

import functools
import re
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from . import VERSION
from .errors import Envelope
from .routes import Route, table

_REASONS = {
    200: "The answer",
    202: "Taken; it goes on in the background",
    204: "There is no more",
    303: "It goes on there",
    304: "Not changed since it was last asked for",
    400: "The request is not valid; `details` names each field",
    401: "It takes a session that holds",
    403: "Not over HTTPS, or not from an allowed origin",
    404: "There is nothing at this address",
    405: "The address does not take this method",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "Too often; `retry_after` says when again",
    500: "A failure; quote the `request_id`",
    503: "Not now; `retry_after` says when",
}
_ALWAYS = (403, 405, 500)
_REQUEST_ID = {
    "X-Request-ID": {
        "description": "The request's ID: the client's own if it was fit to be one",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
    }
}
_LIMITED = {
    name: {"description": what, "schema": {"type": "integer", "minimum": minimum}}
    for name, what, minimum in (
        ("RateLimit-Limit", "How many the tightest limit allows in its window", 1),
        ("RateLimit-Remaining", "How many more it allows now", 0),
        ("RateLimit-Reset", "In how many seconds it allows one more than that", 1),
    )
}
"""What an answer says of limits; who has none is told of none."""
_RETRY = {
    "Retry-After": {
        "description": "When to try again, in seconds",
        "schema": {"type": "integer", "minimum": 1},
    }
}


_SESSION = {"type": "http", "scheme": "bearer", "description": "The token of a session"}
_SHOWN: dict[str, list[dict[str, list[str]]]] = {
    "needed": [{"session": []}],
    "optional": [{}, {"session": []}],
}


@functools.cache
def document() -> bytes:
    """The description as JSON."""
    routes = table()
    models = sorted({model for route in routes for model in _models(route)}, key=lambda model: model.__name__)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas = definitions.get("$defs", {})
    envelope = TypeAdapter(Envelope).json_schema(ref_template="#/components/schemas/{model}")
    schemas |= envelope.pop("$defs", {})
    schemas["Error"] = envelope
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "ChatKit", "version": VERSION, "license": {"name": "MIT", "identifier": "MIT"}},
            "paths": paths,
            "components": {"schemas": schemas, "securitySchemes": {"session": _SESSION}},
        },
        option=orjson.OPT_INDENT_2,
    )


def _models(route: Route) -> list[type[BaseModel]]:
    answers = [answer for answer in route.answers.values() if not isinstance(answer, str)]
    return answers + ([route.takes] if route.takes is not None else [])


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()}_{re.sub('[^a-z0-9]+', '_', route.path.lower()).strip('_') or 'index'}",
        "description": (route.handler.__doc__ or "").strip(),
        "responses": {},
    }
    if route.session is not None:
        operation["security"] = _SHOWN[route.session]
    if parameters := [*_in_path(route), *_in_query(route)]:
        operation["parameters"] = parameters
    if route.takes is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(route.takes)}},
        }
    for status, answer in route.answers.items():
        response: dict[str, Any] = {"description": _REASONS[status], "headers": _headers(route, status)}
        if answer:
            kind = answer if isinstance(answer, str) else "application/json"
            schema = {} if isinstance(answer, str) else _ref(answer)
            response["content"] = {kind: {"schema": schema}}
        operation["responses"][str(status)] = response
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for status in sorted({*route.refusals, *_ALWAYS} - set(route.answers)):
        operation["responses"][str(status)] = {
            "description": _REASONS[status],
            "headers": _headers(route, status),
            "content": error,
        }
    return operation


def _in_path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _in_query(route: Route) -> list[dict[str, Any]]:
    if route.asks is None:
        return []
    schema = route.asks.model_json_schema()
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": about}
        for name, about in schema["properties"].items()
    ]


def _headers(route: Route, status: int) -> dict[str, Any]:
    """What the head of such an answer says."""
    limited = _LIMITED if route.work is not None and status in {200, 429} else {}
    return _REQUEST_ID | limited | (_RETRY if status in route.refusals and status in {429, 503} else {})


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
