"""The bundled scenario runs, leaves its report, and agrees with the server on what happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.harness import ROOT, ServerProcess, clean_environment, free_port, running


def load(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.load", *options],
        cwd=folder,
        env=clean_environment(PATH=os.environ["PATH"]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_visitors_are_served_and_both_sides_count_the_same(server: ServerProcess, tmp_path: Path) -> None:
    done = load(tmp_path, "--url", server.url, "--users", "8", "--seconds", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "var" / "load" / "report.html").stat().st_size > 10_000
    told = json.loads((tmp_path / "var" / "load" / "load.json").read_text())
    rows = {(row["method"], row["name"]): row["num_requests"] for row in told}
    sent = sum(
        count
        for (kind, name), count in rows.items()
        if kind in {"GET", "POST"} and name not in {"/health", "/metrics"}
    )
    assert sent > 10
    assert f"The server counted {sent} requests, 0 errors" in done.stdout
    answered = server.events("http_request", route="/api/v1/chat/stream", outcome="ok")
    assert rows["SSE", "first token"] <= len(answered) == rows["POST", "/api/v1/chat/stream"]
    assert all(event["request_id"].startswith("load-") for event in answered)


def test_a_server_with_limits_is_not_asked_for_them(tmp_path: Path) -> None:
    with running(tmp_path / "server", RATE_LIMITS="true") as server:
        done = load(tmp_path, "--url", server.url, "--users", "1", "--seconds", "1")
        assert done.returncode == 1
        assert "RATE_LIMITS=false" in done.stderr
        server.wait_for("http_request", status=415)
        assert len(server.events("http_request", route="/api/v1/chat")) == 1


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path) -> None:
    done = load(tmp_path, "--url", f"http://127.0.0.1:{free_port()}", "--seconds", "1")
    assert done.returncode == 1
    assert "make run" in done.stderr
    assert ROOT.exists()
