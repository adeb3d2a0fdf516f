"""One address, two languages; the figures of both are the same."""

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from server.operations.accept import preferred
from server.operations.metrics import JSON, OFFERS, OPENMETRICS, TEXT
from tests.harness import ServerProcess, exchange, needs, request_bytes

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_OLD = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "offer"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/*", JSON),
        (CHROME, JSON),
        ("text/plain", TEXT),
        ("text/*", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (PROMETHEUS_OLD, TEXT),
        ("application/json;q=0.1, text/plain;q=0.9", TEXT),
        ("application/json;q=0.9, text/plain;q=0.1", JSON),
        ("text/plain;q=0, */*", JSON),
        ("application/json;q=0, */*", OPENMETRICS),
        ("application/json;q=0, application/openmetrics-text;q=0, */*;q=0.1", TEXT),
        ("image/png", JSON),
        ("text/plain;version=9.9.9", JSON),
        ("TEXT/PLAIN ; Q=1 , application/json ; q=0.5", TEXT),
        (";;;,,/,a/b/c,q=1", JSON),
        ("text/plain;q=nonsense", JSON),
    ],
)
def test_the_format_is_the_one_that_the_client_prefers(accept: str, offer: str) -> None:
    assert preferred(accept, OFFERS) == offer


@given(st.text())
def test_any_accept_header_gets_one_of_the_formats(accept: str) -> None:
    assert preferred(accept, OFFERS) in OFFERS


def figures(server: ServerProcess) -> dict[str, object]:
    told: dict[str, object] = exchange(server.address, request_bytes("GET", "/metrics")).json()
    return told


def test_the_six_figures_come_first_and_in_their_order(server: ServerProcess) -> None:
    told = figures(server)
    assert list(told)[:6] == [
        "total_requests", "error_count", "error_rate_percent", "rate_limit_hits", "avg_response_ms", "uptime_seconds",
    ]  # fmt: skip
    assert [told[name] for name in list(told)[:5]] == [0, 0, 0.0, 0, 0.0]


def test_errors_are_counted_refusals_are_not(server: ServerProcess) -> None:
    for path in ("/test/faults/exception", "/nowhere", "/", "/test/faults/stream"):
        exchange(server.address, request_bytes("GET", path))
    server.wait_for("http_request", 4)
    told = figures(server)
    assert (told["total_requests"], told["error_count"], told["error_rate_percent"]) == (4, 2, 50.0)


@pytest.mark.parametrize(("accept", "parse"), [(PROMETHEUS_2, parse_openmetrics), ("text/plain", parse_text)])
def test_both_languages_tell_the_same_figures(server: ServerProcess, accept: str, parse: object) -> None:
    for number in range(30):
        exchange(
            server.address, request_bytes("GET", ("/", "/nowhere", "/test/faults/exception")[number % 3])
        )
    server.wait_for("http_request", 30)
    answer = exchange(server.address, request_bytes("GET", "/metrics", {"Accept": accept}))
    families = {family.name: family for family in parse(answer.body.decode())}  # type: ignore[operator]
    told = figures(server)
    samples = {
        (sample.name, sample.labels.get("route"), sample.labels.get("le")): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["chatkit_requests_total", "/", None] == 10
    assert samples["chatkit_requests_total", "unmatched", None] == 10
    assert samples["chatkit_errors_total", "/test/faults/{kind}", None] == 10
    assert told["total_requests"] == 30
    assert told["error_count"] == 10
    for route in ("/", "unmatched", "/test/faults/{kind}"):
        buckets = [
            value
            for (name, of, le), value in samples.items()
            if name.endswith("_bucket") and of == route and le
        ]
        assert buckets == sorted(buckets)
        assert samples["chatkit_request_duration_seconds_bucket", route, "+Inf"] == 10
        assert samples["chatkit_request_duration_seconds_count", route, None] == 10
    durations = [event["duration_ms"] for event in server.events("http_request", route="/")]
    assert samples["chatkit_request_duration_seconds_sum", "/", None] == pytest.approx(sum(durations) / 1000)


def test_promtool_finds_nothing_wrong_with_the_text(server: ServerProcess) -> None:
    exchange(server.address, request_bytes("GET", "/"))
    server.wait_for("http_request")
    text = exchange(server.address, request_bytes("GET", "/metrics", {"Accept": "text/plain"})).body
    checked = subprocess.run(
        [needs("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    broken = subprocess.run(
        [needs("promtool"), "check", "metrics"],
        input=text.replace(b"# TYPE", b"# TIPE"),
        capture_output=True,
        check=False,
    )
    assert broken.returncode != 0


def test_a_head_request_has_no_body(server: ServerProcess) -> None:
    answer = exchange(server.address, request_bytes("HEAD", "/metrics"))
    assert (answer.status, answer.body) == (200, b"")
    assert json.loads(exchange(server.address, request_bytes("GET", "/metrics")).body)
