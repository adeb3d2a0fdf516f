"""`/openapi.json` says what the server does: schemathesis finds no status, type or body that it does not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from server.openapi import document
from server.routes import table
from tests.harness import ServerProcess, exchange, request_bytes
from tests.sites import Site, serving
from tests.visitors import Visitor

# What a description cannot say: which pages may embed the widget, which tokens there are, that a title must show something, what is a host, and that a
# message ID is for one question.
REFUSED_FOR_WHAT_THEY_MEAN = (
    "POST /api/v1/chat",
    "POST /api/v1/chat/stream",
    "PATCH /api/v1/conversations/{conversation_id}",
    "POST /api/v1/chat/save",
    "POST /api/v1/auth/signup",
    "POST /api/v1/auth/resend-verification",
    "POST /api/v1/auth/verify",
    "POST /api/v1/auth/oauth/finish",
    "POST /api/v1/auth/oauth/{provider}/start",
    "POST /api/v1/analytics/event",
)


def _configuration(folder: Path) -> Path:
    file = folder / "schemathesis.toml"
    file.write_text(
        "".join(
            f'[[operations]]\ninclude-name = "{name}"\nchecks.positive_data_acceptance.enabled = false\n'
            for name in REFUSED_FOR_WHAT_THEY_MEAN
        )
    )
    return file


def schemathesis(location: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run all of its phases and checks."""
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            f"--config-file={_configuration(folder)}",
            *("run", location, "--seed=20260101", "--no-color", "--warnings=off"),
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


def test_what_is_limited_says_so_and_what_is_not_does_not() -> None:
    paths = json.loads(document())["paths"]
    answers = paths["/api/v1/chat"]["post"]["responses"]
    limits = {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}
    assert answers["429"]["headers"].keys() >= limits | {"Retry-After", "X-Request-ID"}
    assert answers["200"]["headers"].keys() >= limits
    assert "Retry-After" in answers["503"]["headers"]
    assert not limits & answers["400"]["headers"].keys()
    assert "429" not in paths["/metrics"]["get"]["responses"]


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


def test_schemathesis_finds_nothing_either_when_it_is_signed_in(asked: ServerProcess, tmp_path: Path) -> None:
    visitor = Visitor(asked)
    visitor.sign_in("schemathesis@example.org")
    visitor.ask()
    bugs = len(asked.events("unhandled_exception"))
    # Those end the session with which all others are asked.
    ends = [f"--exclude-path=/api/v1/auth/{name}" for name in ("logout", "refresh-token")]
    session = f"--header=Authorization: Bearer {visitor.token}"
    only = "--include-path-regex=^/api/"
    done = schemathesis(f"{asked.url}/openapi.json", tmp_path, "--max-examples=50", session, only, *ends)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "No issues found" in done.stdout
    assert len(asked.events("unhandled_exception")) == bugs
    assert visitor.get("/auth/session-check").json()["state"] == "logged_in"


class Canary(Site):
    """Describes one operation that answers 200, and answers 500."""

    def do_GET(self) -> None:  # noqa: N802 - the name by which it is called
        description = {
            "openapi": "3.1.0",
            "info": {"title": "canary", "version": "1"},
            "paths": {"/bad": {"get": {"responses": {"200": {"description": "never"}}}}},
        }
        if self.path == "/openapi.json":
            self.answer(200, "application/json", json.dumps(description).encode())
        else:
            self.answer(500, "application/json", b"{}")


@pytest.fixture
def canary() -> Iterator[str]:
    with serving(Canary) as address:
        yield address


def test_schemathesis_would_find_one(canary: str, tmp_path: Path) -> None:
    done = schemathesis(f"{canary}/openapi.json", tmp_path, "--max-examples=5")
    assert done.returncode == 1
    assert "Server error" in done.stdout
