"""Everything that goes wrong has the same flat envelope, tells the log everything and the client nothing."""

import json
import re
from typing import Any

import pytest

from server import errors
from tests.harness import Answer, ServerProcess, exchange, request_bytes
from tests.shared import shared_data

JSON = {"Content-Type": "application/json"}
CODES = (
    "invalid_request message_too_long selected_text_too_long invalid_email consent_required invalid_token token_expired"
    " unauthorized session_expired forbidden not_found session_not_found method_not_allowed payload_too_large"
    " unsupported_media_type rate_limited service_unavailable internal_error"
).split()


def family(kind: type[errors.ChatKitError] = errors.ChatKitError) -> list[type[errors.ChatKitError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in family(child))]


def test_every_error_of_the_family_has_a_code_of_the_contract() -> None:
    kinds = [kind for kind in family() if kind is not errors.ChatKitError]
    assert {kind.code for kind in kinds} <= set(CODES)
    assert all(400 <= kind.status < 600 for kind in kinds)


def envelope(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The body, after checking that it is the envelope and nothing else."""
    assert answer.status == status
    assert answer.headers["content-type"].startswith("application/json")
    body: dict[str, Any] = answer.json()
    assert body["error"] == code
    assert body["message"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body.keys() <= {"error", "message", "request_id", "retry_after", "details"}
    return body


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (request_bytes("GET", "/nothing"), 404, "not_found"),
        (request_bytes("POST", "/invalid-endpoint"), 404, "not_found"),
        (request_bytes("GET", "/widget/../../etc/passwd"), 404, "not_found"),
        (request_bytes("GET", "/widget/" + "x" * 300), 404, "not_found"),
        (request_bytes("GET", "/api/v1/chat"), 405, "method_not_allowed"),
        (request_bytes("PATCH", "/health"), 405, "method_not_allowed"),
        (request_bytes("POST", "/api/v1/chat", JSON, b"[]"), 400, "invalid_request"),
        (request_bytes("POST", "/api/v1/chat", JSON, b""), 400, "invalid_request"),
        (request_bytes("POST", "/api/v1/chat", {}, b"{}"), 415, "unsupported_media_type"),
        (request_bytes("POST", "/api/v1/chat", JSON, b"x" * 140_000), 413, "payload_too_large"),
        (request_bytes("GET", "/test/faults/exception"), 500, "internal_error"),
        (request_bytes("GET", "/test/faults/slow?seconds=minus"), 400, "invalid_request"),
    ],
)
def test_every_refusal_has_the_flat_envelope(
    asked: ServerProcess, request_: bytes, status: int, code: str
) -> None:
    envelope(exchange(asked.address, request_), status, code)


def test_a_refused_method_says_which_are_allowed(asked: ServerProcess) -> None:
    assert exchange(asked.address, request_bytes("GET", "/api/v1/chat")).headers["allow"] == "POST"
    assert exchange(asked.address, request_bytes("PUT", "/health")).headers["allow"] == "GET, HEAD"


def test_a_bad_field_is_named_with_what_is_wrong_and_never_its_value(asked: ServerProcess) -> None:
    body = json.dumps({"message": 7, "contxt": "secret-value", "context": {"mode": "secret-value"}}).encode()
    told = envelope(
        exchange(asked.address, request_bytes("POST", "/api/v1/chat", JSON, body)), 400, "invalid_request"
    )
    assert {detail["field"] for detail in told["details"]} == {"message", "contxt", "context.mode"}
    assert all(detail["problem"] for detail in told["details"])
    assert "secret-value" not in json.dumps(told)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"message": "x" * 2001}, "message_too_long", "message"),
        (
            {"message": "x", "context": {"selected_text": "x" * 5001}},
            "selected_text_too_long",
            "context.selected_text",
        ),
        ({"message": ""}, "invalid_request", "message"),
        ({"message": " \n\t"}, "invalid_request", "message"),
        ({}, "invalid_request", "message"),
        ({"message": None}, "invalid_request", "message"),
        ({"message": "x", "context": {"mode": "guess"}}, "invalid_request", "context.mode"),
        ({"message": "x", "tier": 3}, "invalid_request", "tier"),
    ],
)
def test_each_limit_has_its_code_and_its_field(
    asked: ServerProcess, body: object, code: str, field: str
) -> None:
    for path in ("/api/v1/chat", "/api/v1/chat/stream"):
        answer = exchange(asked.address, request_bytes("POST", path, JSON, json.dumps(body).encode()))
        told = envelope(answer, 400, code)
        assert [detail["field"] for detail in told["details"]] == [field]


def test_a_question_at_its_limits_is_answered(asked: ServerProcess) -> None:
    for message, selected in (
        ("x" * 2000, None),
        ("\U0001f600" * 2000, "\U0001f600" * 5000),
        ("é" * 2000, "\x01" * 5000),
    ):
        body = {"message": message} | ({"context": {"selected_text": selected}} if selected else {})
        raw = json.dumps(
            body
        ).encode()  # every character escaped: the longest form that a valid body can have
        assert exchange(asked.address, request_bytes("POST", "/api/v1/chat", JSON, raw)).status == 200


def test_no_file_of_the_json_test_suite_is_answered_with_a_server_error(asked: ServerProcess) -> None:
    files = sorted(shared_data("json-test-suite").glob("*.json"))
    assert len(files) > 300
    for path in ("/api/v1/chat", "/api/v1/chat/stream"):
        for file in files:
            answer = exchange(asked.address, request_bytes("POST", path, JSON, file.read_bytes()))
            if file.stat().st_size > 128 << 10:
                envelope(answer, 413, "payload_too_large")
                continue
            told = envelope(answer, 400, "invalid_request")
            # A valid document is refused for what it says, an invalid one because it is none.
            if file.name.startswith("n_"):
                assert "JSON" in told["message"], file.name
            if file.name.startswith("y_"):
                assert "not valid JSON" not in told["message"], file.name


BODIES_THAT_BREAK_PARSERS = {
    "deep nesting": b"[" * 100_000,
    "a huge integer": b'{"message": ' + b"9" * 5000 + b"}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "bad UTF-8": b'{"message": "\xff\xfe"}',
    "not a number": b'{"message": NaN}',
    "infinity": b'{"message": 1e999}',
    "UTF-16": '{"message": "x"}'.encode("utf-16"),
    "a lone surrogate": b'{"message": "\\ud800"}',
    "NUL": b'{"message": "\x00"}',
}


@pytest.mark.parametrize("body", BODIES_THAT_BREAK_PARSERS.values(), ids=BODIES_THAT_BREAK_PARSERS.keys())
@pytest.mark.parametrize("charset", ["", "; charset=utf-8", "; charset=bogus", "; charset=utf-16"])
def test_a_body_that_breaks_parsers_is_a_bad_request(asked: ServerProcess, body: bytes, charset: str) -> None:
    for path in ("/api/v1/chat", "/api/v1/chat/stream"):
        answer = exchange(
            asked.address, request_bytes("POST", path, {"Content-Type": "application/json" + charset}, body)
        )
        envelope(answer, 400, "invalid_request")


def test_a_body_in_a_broken_encoding_is_a_bad_request(asked: ServerProcess) -> None:
    for encoding in ("gzip", "deflate", "br"):
        name = f"broken-{encoding}"
        headers = JSON | {"Content-Encoding": encoding, "X-Request-ID": name}
        request = request_bytes("POST", "/api/v1/chat", headers, b"not compressed at all")
        envelope(exchange(asked.address, request), 400, "invalid_request")
        headers["X-Request-ID"] = f"{name}-nowhere"
        request = request_bytes("POST", "/nowhere", headers, b"not compressed at all")
        envelope(exchange(asked.address, request), 404, "not_found")
        asked.wait_for("http_request", request_id=f"{name}-nowhere")
    # Whoever sends rubbish makes no error of ours.
    assert [event for event in asked.events("log_record") if event["level"] == "ERROR"] == []


def test_an_exception_is_told_to_the_log_in_full_and_to_the_client_not_at_all(asked: ServerProcess) -> None:
    request = request_bytes("GET", "/test/faults/exception", {"X-Request-ID": "bug-1"})
    answer = exchange(asked.address, request)
    assert answer.json() == {
        "error": "internal_error",
        "message": "An unexpected error occurred. Please try again later.",
        "request_id": "bug-1",
    }
    (event,) = asked.wait_for("unhandled_exception", request_id="bug-1")
    assert event["level"] == "ERROR"
    assert (event["method"], event["route"]) == ("GET", "/test/faults/{kind}")
    assert event["exception_type"] == "server.operations.faults.InjectedFault"
    assert event["exception_message"] == "token=[redacted] could not be used"
    (cause,) = event["causes"]
    assert (cause["exception_type"], cause["exception_message"]) == (
        "OSError",
        "password=[redacted] was refused",
    )
    assert (cause["module"], cause["function"]) == ("server.operations.faults", "fault")
    assert event["frames"][-1]["function"] == "fault"
    assert event["frames"][-1]["ours"]
    assert re.fullmatch("[0-9a-f]{12}", event["fingerprint"])
    (canonical,) = asked.events("http_request", request_id="bug-1")
    assert (canonical["error"], canonical["outcome"]) == (event["fingerprint"], "server_error")


def test_the_same_bug_has_the_same_fingerprint(asked: ServerProcess) -> None:
    for number in range(3):
        exchange(
            asked.address, request_bytes("GET", "/test/faults/exception", {"X-Request-ID": f"same-{number}"})
        )
        asked.wait_for("http_request", request_id=f"same-{number}")
    told = {
        asked.events("unhandled_exception", request_id=f"same-{number}")[0]["fingerprint"]
        for number in range(3)
    }
    assert len(told) == 1


def test_a_stream_that_breaks_has_one_status_line_and_no_end(asked: ServerProcess) -> None:
    answer = exchange(asked.address, request_bytes("GET", "/test/faults/stream", {"X-Request-ID": "cut-1"}))
    assert answer.status == 200
    assert answer.raw.count(b"HTTP/1.1") == 1
    assert b"the beginning of an answer" in answer.body
    assert not answer.raw.endswith(b"0\r\n\r\n")
    (event,) = asked.wait_for("http_request", request_id="cut-1")
    assert (event["status"], event["outcome"]) == (200, "server_error")
    assert len(asked.events("unhandled_exception", request_id="cut-1")) == 1
