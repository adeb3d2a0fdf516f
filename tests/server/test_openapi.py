"""`/openapi.json` says what the server does: schemathesis finds no status, type or body that it does not."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from server.openapi import document
from server.routes import table
from tests.harness import ServerProcess, exchange, request_bytes


def schemathesis(location: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run all of its phases and checks."""
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            *("run", location, "--checks=all", "--seed=20260101", "--no-color", "--warnings=off"),
            *options,
        ],
        cwd=folder,
        env=os.environ | {"HYPOTHESIS_STORAGE_DIRECTORY": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_description_is_valid_and_names_every_route() -> None:
    described = json.loads(document())
    validate(described)
    assert {(method.upper(), path) for path, item in described["paths"].items() for method in item} == {
        (route.method, route.path) for route in table()
    }


def test_the_server_gives_out_what_the_code_makes(asked: ServerProcess) -> None:
    assert exchange(asked.address, request_bytes("GET", "/openapi.json")).body == document()


def test_schemathesis_finds_no_server_error_and_nothing_undocumented(
    asked: ServerProcess, tmp_path: Path
) -> None:
    bugs = len(asked.events("unhandled_exception"))  # those that other tests asked for
    done = schemathesis(f"{asked.url}/openapi.json", tmp_path, "--max-examples=100")
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"Tested: {len(table()) - 1}" in done.stdout  # all but the description itself
    assert "No issues found" in done.stdout
    assert len(asked.events("unhandled_exception")) == bugs


class Canary(BaseHTTPRequestHandler):
    """Describes one operation that answers 200, and answers 500."""

    def do_GET(self) -> None:
        description = {
            "openapi": "3.1.0",
            "info": {"title": "canary", "version": "1"},
            "paths": {"/bad": {"get": {"responses": {"200": {"description": "never"}}}}},
        }
        body = json.dumps(description).encode() if self.path == "/openapi.json" else b"{}"
        self.send_response(200 if self.path == "/openapi.json" else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        del arguments


@pytest.fixture
def canary() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Canary) as bad:
        thread = threading.Thread(target=bad.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{bad.server_port}"
        bad.shutdown()
        thread.join()


def test_schemathesis_would_find_one(canary: str, tmp_path: Path) -> None:
    done = schemathesis(f"{canary}/openapi.json", tmp_path, "--max-examples=5")
    assert done.returncode == 1
    assert "Server error" in done.stdout
