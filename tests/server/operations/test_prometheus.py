"""A real Prometheus scrapes the server and knows its figures."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ServerProcess, exchange, free_port, needs, request_bytes
from tests.waiting import until


@pytest.fixture
def prometheus(tmp_path: Path, server: ServerProcess) -> Iterator[str]:
    """The address of a Prometheus that scrapes `server` twice a second."""
    config = tmp_path / "prometheus.yml"
    host, port = server.address
    config.write_text(
        "global: {scrape_interval: 500ms, scrape_timeout: 400ms}\n"
        f"scrape_configs: [{{job_name: chatkit, static_configs: [{{targets: ['{host}:{port}']}}]}}]\n"
    )
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            needs("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address={address}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://{address}"
    process.terminate()
    process.wait(20)


def query(address: str, expression: str) -> list[dict[str, object]]:
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            found: list[dict[str, object]] = json.load(response)["data"]["result"]
            return found
    except (urllib.error.URLError, ConnectionError):
        return []


def test_prometheus_scrapes_the_figures(prometheus: str, server: ServerProcess) -> None:
    for _ in range(7):
        exchange(server.address, request_bytes("GET", "/"))
    assert len(until(lambda: query(prometheus, 'chatkit_requests_total{route="/"} == 7'))) == 1
    assert query(prometheus, "up{job='chatkit'} == 1") != []
    assert query(prometheus, 'chatkit_request_duration_seconds_bucket{route="/",le="+Inf"} == 7') != []
    # Prometheus asked in its own words and took the format that it prefers.
    assert {event["ua_family"] for event in server.events("http_request", route="/metrics")} == {"Prometheus"}
