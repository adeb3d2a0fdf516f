"""An event in the words of others: OpenTelemetry's log data model and the Elastic Common Schema, and back without loss.

    to_otel(event)    one OTLP/JSON export request with one log record, as `POST /v1/logs` takes it
    to_ecs(event)     one document of Elasticsearch

A field goes to the place that `PLACES` names when its value is what belongs there. Everything else keeps its name and its
value under `chatkit.`, so whatever an event holds, `from_otel` and `from_ecs` give it back: the same fields, types and
values, those that every event has first and in their order. What stands there for people (the body, the message) is not read back.

Names: OpenTelemetry semantic conventions 1.40, all stable; ECS 8.17. Encoding: OTLP 1.5, JSON Protobuf.
"""

import base64
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pipeline.catalogue import RESERVED

Event = dict[str, Any]

OWN = "chatkit."
ECS_VERSION = "8.17.0"
SEVERITY = {"DEBUG": 5, "INFO": 9, "WARNING": 13, "ERROR": 17}
"""Level → SeverityNumber."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.(?:[0-9]{3}|[0-9]{6})Z")
_METHODS = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split())


class Place(NamedTuple):
    """Where a field goes: its names (None: under `chatkit.`), and whether a value of the event of that name belongs there.

    OpenTelemetry's names without a dot are members of the log record, those of `service` attributes of the resource, the
    others attributes of the record. ECS's names are paths.
    """

    otel: str | None
    ecs: str | None
    fits: Callable[[Any, Any], bool]


def _text(value: Any, _: Any) -> bool:
    return isinstance(value, str) and value != ""  # to Protobuf an empty one is none


def _time(value: Any, _: Any) -> bool:
    """Only what can be told again from nanoseconds as it was."""
    try:
        return _TIME.fullmatch(value) is not None and _from_nanoseconds(_nanoseconds(value)) == value
    except (TypeError, ValueError, OverflowError):
        return False


def _level(value: Any, _: Any) -> bool:
    return isinstance(value, str) and value in SEVERITY


def _integer(value: Any, _: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _hexadecimal(digits: int) -> Callable[[Any, Any], bool]:
    pattern = re.compile(rf"(?!0+$)[0-9a-f]{{{digits}}}")
    return lambda value, _: isinstance(value, str) and pattern.fullmatch(value) is not None


def _method(value: Any, _: Any) -> bool:
    return isinstance(value, str) and value in _METHODS


def _route(value: Any, _: Any) -> bool:
    """A template; `unmatched` is none."""
    return isinstance(value, str) and value.startswith("/")


def _of_http(fits: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Other events have a `status` or a `path` too, of another kind."""
    return lambda value, event: isinstance(event, str) and event.startswith("http_") and fits(value, event)


PLACES: dict[str, Place] = {
    "timestamp": Place("timeUnixNano", "@timestamp", _time),
    "level": Place("severityText", "log.level", _level),
    "service": Place("service.name", "service.name", _text),
    "event": Place("eventName", "event.action", _text),
    "request_id": Place(None, "http.request.id", _text),
    "boot": Place("service.instance.id", "service.ephemeral_id", _text),
    "seq": Place(None, "event.sequence", _integer),
    "version": Place("service.version", "service.version", _text),
    "config": Place(None, None, _text),
    "trace_id": Place("traceId", "trace.id", _hexadecimal(32)),
    "span_id": Place("spanId", "span.id", _hexadecimal(16)),
    "method": Place("http.request.method", "http.request.method", _method),
    "route": Place("http.route", None, _route),
    "path": Place("url.path", "url.path", _of_http(_text)),
    "status": Place("http.response.status_code", "http.response.status_code", _of_http(_integer)),
    "exception_type": Place("exception.type", "error.type", _text),
    "exception_message": Place("exception.message", "error.message", _text),
}
"""Field → place. Those that every event has come first, in the order of a line."""

_FROM_OTEL = {place.otel: name for name, place in PLACES.items() if place.otel}
_FROM_ECS = {place.ecs: name for name, place in PLACES.items() if place.ecs}


def to_otel(event: Event) -> dict[str, Any]:
    """`event` as an OTLP/JSON `ExportLogsServiceRequest`."""
    record: dict[str, Any] = {}
    resource: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for name, value in event.items():
        place = PLACES.get(name)
        if place is None or place.otel is None or not place.fits(value, event.get("event")):
            attributes[OWN + name] = value
        elif name == "timestamp":
            record["timeUnixNano"] = str(_nanoseconds(value))
        elif name == "level":
            record |= {"severityNumber": SEVERITY[value], "severityText": value}
        elif "." not in place.otel:
            record[place.otel] = value
        elif place.otel.startswith("service."):
            resource[place.otel] = value
        else:
            attributes[place.otel] = value
    if (summary := _summary(event)) is not None:
        record["body"] = {"stringValue": summary}
    record["attributes"] = _key_values(attributes)
    scope_logs = {"scope": {"name": "chatkit"}, "logRecords": [record]}
    return {"resourceLogs": [{"resource": {"attributes": _key_values(resource)}, "scopeLogs": [scope_logs]}]}


def from_otel(request: dict[str, Any]) -> Event:
    """The event of which `to_otel` made `request`."""
    [resource_logs] = request["resourceLogs"]
    [scope_logs] = resource_logs["scopeLogs"]
    [record] = scope_logs["logRecords"]
    found: dict[str, Any] = {name: record[key] for key, name in _FROM_OTEL.items() if key in record}
    if "timestamp" in found:
        found["timestamp"] = _from_nanoseconds(int(found["timestamp"]))
    # What went through Protobuf comes back without its empty lists and objects.
    resource = resource_logs.get("resource", {})
    for key_value in (*resource.get("attributes", ()), *record.get("attributes", ())):
        key, value = key_value.get("key", ""), _from_any_value(key_value.get("value", {}))
        found[key.removeprefix(OWN) if key.startswith(OWN) else _FROM_OTEL[key]] = value
    return _in_order(found)


def to_ecs(event: Event) -> dict[str, Any]:
    """`event` as an ECS document, nested."""
    document: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in event.items():
        place = PLACES.get(name)
        if place is None or place.ecs is None or not place.fits(value, event.get("event")):
            own[name] = value
        else:
            *parents, last = place.ecs.split(".")
            inner = document
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = value
    if (summary := _summary(event)) is not None:
        document["message"] = summary
    return document | {"ecs": {"version": ECS_VERSION}, OWN.removesuffix("."): own}


def from_ecs(document: dict[str, Any]) -> Event:
    """The event of which `to_ecs` made `document`."""
    found: dict[str, Any] = {}
    for path, name in _FROM_ECS.items():
        *parents, last = path.split(".")
        inner = document
        for parent in parents:
            inner = inner.get(parent, {})
        if last in inner:
            found[name] = inner[last]
    return _in_order(found | document[OWN.removesuffix(".")])


def _summary(event: Event) -> str | None:
    """What people read first."""
    texts = (event.get("message"), event.get("event"))
    return next((text for text in texts if isinstance(text, str)), None)


def _in_order(found: dict[str, Any]) -> Event:
    """`found` with the fields that every event has first."""
    return {name: found[name] for name in PLACES if name in RESERVED and name in found} | found


def _nanoseconds(timestamp: str) -> int:
    """Nanoseconds since 1970. Raises ``ValueError`` for what is no time, or not after that."""
    since = (datetime.fromisoformat(timestamp) - _EPOCH) // timedelta(microseconds=1)
    if since <= 0:
        raise ValueError("OTLP has no such time: 0 is none")
    return since * 1000


def _from_nanoseconds(nanoseconds: int) -> str:
    """The shortest of what a line can say: to the millisecond, else to the microsecond."""
    microseconds = nanoseconds // 1000
    precision = "milliseconds" if microseconds % 1000 == 0 else "microseconds"
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _key_values(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value)} for key, value in values.items()]


def _any_value(value: Any) -> dict[str, Any]:
    """An OTLP `AnyValue`; null is the empty one. An integer of more than 64 bits, which none can hold, is its digits as bytes."""
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int() if _integer(value, None):
            return {"intValue": str(value)}
        case int():
            return {"bytesValue": base64.b64encode(b"%d" % value).decode()}
        case float() if math.isfinite(value):
            return {"doubleValue": value}
        case float():
            return {"doubleValue": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
        case dict():
            return {"kvlistValue": {"values": _key_values(value)}}
        case list():
            return {"arrayValue": {"values": [_any_value(item) for item in value]}}
    return {"stringValue": value}


def _from_any_value(value: dict[str, Any]) -> Any:
    for kind, held in value.items():
        return _READ[kind](held)
    return None


_READ: dict[str, Callable[[Any], Any]] = {
    "stringValue": str,
    "boolValue": bool,
    "intValue": int,
    "bytesValue": lambda held: int(base64.b64decode(held)),
    "doubleValue": float,
    "kvlistValue": lambda held: {
        item.get("key", ""): _from_any_value(item.get("value", {})) for item in held.get("values", ())
    },
    "arrayValue": lambda held: [_from_any_value(item) for item in held.get("values", ())],
}
