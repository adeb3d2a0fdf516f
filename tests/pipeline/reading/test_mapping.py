"""Every event becomes an OpenTelemetry log record and an ECS document, and comes back as it was."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.catalogue import EVENTS, RESERVED
from pipeline.reading.mapping import OWN, PLACES, from_ecs, from_otel, to_ecs, to_otel
from tests.docs.reading import ROOT
from tests.docs.reference import import_everything
from tests.harness import ServerProcess, exchange, request_bytes

Event = dict[str, Any]
There = Callable[[Event], dict[str, Any]]
Back = Callable[[dict[str, Any]], Event]

both_ways = pytest.mark.parametrize(
    ("there", "back"), [(to_otel, from_otel), (to_ecs, from_ecs)], ids=["otel", "ecs"]
)

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS | st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), -(2**63) - 1, 1.0, -0.0]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
LIKELY = st.sampled_from(
    [
        "2026-01-01T12:34:56.789Z",
        "2026-01-01T12:34:56.789012Z",
        "2026-01-01T12:34:56.789000Z",
        "1970-01-01T00:00:00.000Z",
        "2026-02-30T12:34:56.789Z",
        "2026-01-01T12:34:56.789+01:00",
        "2026-01-01T12:34:56Z",
        "WARNING",
        "FATAL",
        "http_request",
        "GET",
        "BREW",
        "/api/v1/chat",
        "unmatched",
        "0" * 32,
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
        200,
        True,
        2.0,
    ]
)
NAMES = (
    st.sampled_from([*PLACES, "message", "http.route", "chatkit.status", "chatkit", "ecs", "labels"])
    | st.text()
)
HEAD: Event = {
    "timestamp": "2026-01-01T12:34:56.789Z",
    "level": "INFO",
    "service": "chatkit-backend",
    "event": "http_request",
    "request_id": "abc123-def456",
    "boot": "k3f9a1",
    "seq": 1042,
    "version": "0.5.0",
    "config": "9f3c11",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "span_id": "b7ad6b7169203331",
}
REQUEST = HEAD | {
    "method": "GET",
    "route": "/page/{name}",
    "path": "/page/reader",
    "status": 404,
    "duration_ms": 1.25,
    "exception_type": "builtins.OSError",
    "exception_message": "no",
    "origin": None,
    "frames": [["server.app", 12, True], {"line": 2**63}],
}


@pytest.fixture(scope="module", autouse=True)
def _declared() -> None:
    import_everything()


def text(value: Any) -> str:
    """`value` with everything that tells values apart: types, the sign of zero, order, null and absent."""
    return json.dumps(value)


def sent(document: dict[str, Any]) -> dict[str, Any]:
    """`document` as it arrives."""
    received: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return received


@both_ways
@given(st.dictionaries(NAMES, VALUES | LIKELY))
@example(REQUEST)
@example({})
def test_any_event_comes_back(there: There, back: Back, event: Event) -> None:
    assert text(sorted(back(sent(there(event))).items())) == text(sorted(event.items()))


def through_protobuf(value: Any) -> Any:
    """`value` as a collector passes it on: what is empty is left out, but for a string or an object that says which kind it is."""
    if isinstance(value, list):
        return [through_protobuf(item) for item in value]
    if isinstance(value, dict):
        inner = {name: through_protobuf(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item != [] and (name, item) != ("key", "")}
    return value


@given(st.dictionaries(NAMES, VALUES | LIKELY))
@example({})
@example({"": None, "list": [[], {}], "object": {"": {}}, "text": ""})
def test_any_event_comes_back_through_a_collector(event: Event) -> None:
    assert text(sorted(from_otel(through_protobuf(to_otel(event))).items())) == text(sorted(event.items()))


@both_ways
@given(st.data())
def test_every_event_of_the_catalogue_comes_back_in_its_order(
    there: There, back: Back, data: st.DataObject
) -> None:
    declared = EVENTS[data.draw(st.sampled_from(sorted(EVENTS)))]
    chosen = [name for name in declared.fields if data.draw(st.booleans())]
    event = HEAD | {"event": declared.name, "level": declared.level}
    event |= {name: data.draw(VALUES | LIKELY) for name in chosen}
    returned = back(sent(there(event)))
    assert text(sorted(returned.items())) == text(sorted(event.items()))
    assert [name for name in returned if name in RESERVED] == list(HEAD)
    if there is to_otel:
        assert text(returned) == text(event)


@given(st.floats())
@example(float("nan"))
def test_opentelemetry_takes_floats_that_json_does_not_have(value: float) -> None:
    assert text(from_otel(sent(to_otel({"value": value})))) == text({"value": value})


@both_ways
def test_what_a_server_writes_comes_back(there: There, back: Back, server: ServerProcess) -> None:
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    for path in ("/", "/nowhere", "/test/faults/exception", "/health/ready"):
        exchange(server.address, request_bytes("GET", path, trace))
    exchange(server.address, b"\x16\x03\x01 hello\r\n\r\n")
    server.wait_for("http_request", 4)
    server.stop()
    events = server.events()
    assert {"http_rejected", "unhandled_exception", "segment_opened"} <= {event["event"] for event in events}
    for event in events:
        returned = back(sent(there(event)))
        assert returned == event
        if there is to_otel:
            assert text(returned) == text(event)


def test_a_request_in_the_words_of_opentelemetry() -> None:
    [resource_logs] = to_otel(REQUEST)["resourceLogs"]
    [scope_logs] = resource_logs["scopeLogs"]
    [record] = scope_logs["logRecords"]
    assert {item["key"]: item["value"] for item in resource_logs["resource"]["attributes"]} == {
        "service.name": {"stringValue": "chatkit-backend"},
        "service.instance.id": {"stringValue": "k3f9a1"},
        "service.version": {"stringValue": "0.5.0"},
    }
    attributes = {item["key"]: item["value"] for item in record.pop("attributes")}
    assert record == {
        "timeUnixNano": "1767270896789000000",
        "severityNumber": 9,
        "severityText": "INFO",
        "eventName": "http_request",
        "body": {"stringValue": "http_request"},
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
    }
    assert attributes == {
        "chatkit.request_id": {"stringValue": "abc123-def456"},
        "chatkit.seq": {"intValue": "1042"},
        "chatkit.config": {"stringValue": "9f3c11"},
        "http.request.method": {"stringValue": "GET"},
        "http.route": {"stringValue": "/page/{name}"},
        "url.path": {"stringValue": "/page/reader"},
        "http.response.status_code": {"intValue": "404"},
        "chatkit.duration_ms": {"doubleValue": 1.25},
        "exception.type": {"stringValue": "builtins.OSError"},
        "exception.message": {"stringValue": "no"},
        "chatkit.origin": {},
        "chatkit.frames": {
            "arrayValue": {
                "values": [
                    {
                        "arrayValue": {
                            "values": [
                                {"stringValue": "server.app"},
                                {"intValue": "12"},
                                {"boolValue": True},
                            ]
                        }
                    },
                    {
                        "kvlistValue": {
                            "values": [
                                {"key": "line", "value": {"bytesValue": "OTIyMzM3MjAzNjg1NDc3NTgwOA=="}}
                            ]
                        }
                    },
                ]
            }
        },
    }


def test_a_request_in_the_words_of_the_elastic_common_schema() -> None:
    assert to_ecs(REQUEST) == {
        "@timestamp": "2026-01-01T12:34:56.789Z",
        "ecs": {"version": "8.17.0"},
        "log": {"level": "INFO"},
        "message": "http_request",
        "service": {"name": "chatkit-backend", "ephemeral_id": "k3f9a1", "version": "0.5.0"},
        "event": {"action": "http_request", "sequence": 1042},
        "http": {"request": {"id": "abc123-def456", "method": "GET"}, "response": {"status_code": 404}},
        "url": {"path": "/page/reader"},
        "error": {"type": "builtins.OSError", "message": "no"},
        "trace": {"id": "0af7651916cd43dd8448eb211c80319c"},
        "span": {"id": "b7ad6b7169203331"},
        "chatkit": {
            "config": "9f3c11",
            "route": "/page/{name}",
            "duration_ms": 1.25,
            "origin": None,
            "frames": [["server.app", 12, True], {"line": 2**63}],
        },
    }


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"event": "dependency_call", "status": 503}, "status"),
        ({"event": "document_failed", "path": "/srv/handbook/hours.md"}, "path"),
        ({"event": "http_request", "route": "unmatched"}, "route"),
        ({"event": "http_request", "method": "BREW"}, "method"),
        ({"event": "http_request", "status": True}, "status"),
        ({"level": "FATAL"}, "level"),
        ({"trace_id": "0" * 32}, "trace_id"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"request_id": None}, "request_id"),
    ],
)
def test_what_does_not_belong_in_a_standard_place_keeps_its_own_name(event: Event, name: str) -> None:
    [resource_logs] = to_otel(event)["resourceLogs"]
    [record] = resource_logs["scopeLogs"][0]["logRecords"]
    assert OWN + name in {item["key"] for item in record["attributes"]}
    assert to_ecs(event)["chatkit"][name] == event[name]


def test_the_message_is_what_people_read_first() -> None:
    event = {"event": "log_record", "message": "it is late"}
    [resource_logs] = to_otel(event)["resourceLogs"]
    assert resource_logs["scopeLogs"][0]["logRecords"][0]["body"] == {"stringValue": "it is late"}
    assert to_ecs(event)["message"] == "it is late"


def test_the_documents_have_the_table_of_names() -> None:
    page = (ROOT / "docs" / "how-to" / "ship-the-log.md").read_text()
    rows = [
        f"| `{name}` | `{place.otel or OWN + name}` | `{place.ecs or OWN + name}` |"
        for name, place in PLACES.items()
    ]
    assert "\n".join(rows) in page, "\n".join(rows)


def test_the_mapping_needs_nothing_but_the_standard_library() -> None:
    code = "import sys; before = set(sys.modules); import pipeline.reading.mapping; print(*(set(sys.modules) - before))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    others = {name.partition(".")[0] for name in found} - sys.stdlib_module_names
    assert others == {"pipeline"}
