"""A whole server on PostgreSQL: it does what it does on SQLite, and outlives the loss of its database."""

import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from server.operations.health import FRESH_SECONDS
from tests.harness import (
    ROOT,
    ServerProcess,
    chat_body,
    exchange,
    free_port,
    request_bytes,
    running,
    with_documents,
)
from tests.postgres import PASSWORD, Postgres
from tests.waiting import until

JSON = {"Content-Type": "application/json"}
QUESTION = request_bytes("POST", "/api/v1/chat", JSON, chat_body("How do I trace a request?"))


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A PostgreSQL that these tests may stop and kill; each leaves it running."""
    server = Postgres()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def filled(own: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that holds the project's own documents."""
    name = own.database()
    project = ServerProcess(ROOT, DATABASE_URL=own.url(name), LOG_DIR=str(tmp_path_factory.mktemp("log")))
    for command in ("migrate", "ingest README.md docs", "ingest --if-empty README.md"):
        done = project.command("server", *command.split())
        assert done.returncode == 0, done.stderr.decode()
        assert PASSWORD.encode() not in done.stderr + done.stdout
    return name


@pytest.fixture
def server(tmp_path: Path, own: Postgres, filled: str) -> Iterator[ServerProcess]:
    with running(tmp_path, DATABASE_URL=own.url(filled)) as started:
        yield started
    _holds_no_password(tmp_path)


def _holds_no_password(folder: Path) -> None:
    """Not one byte of what the server wrote: log, ring, state, standard error."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".ring" for path in files)
    assert any(path.suffix == ".jsonl" for path in files)
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


def _health(server: ServerProcess) -> tuple[int, str]:
    answer = exchange(server.address, request_bytes("GET", "/health"))
    return answer.status, answer.json()["database"]


def test_a_question_is_answered_and_streamed_from_what_was_ingested(server: ServerProcess) -> None:
    answer = exchange(server.address, QUESTION)
    assert answer.status == 200
    assert "pipeline trace" in answer.json()["answer"]
    assert answer.json()["sources"]
    stream = request_bytes("POST", "/api/v1/chat/stream", JSON, chat_body("How do I trace a request?"))
    assert b"event: done" in exchange(server.address, stream).raw
    assert _health(server) == (200, "connected")
    told = server.wait_for("http_request", 2, status=200, method="POST")
    # Begin the turn, search, finish the turn.
    assert all(event["db_calls"] == 3 and event["db_ms"] > 0 for event in told)


def test_both_databases_answer_the_same_questions_and_nearly_always_from_the_same_sources(
    server: ServerProcess, tmp_path_factory: pytest.TempPathFactory, documents: Path
) -> None:
    folder = tmp_path_factory.mktemp("sqlite")
    with_documents(folder, documents)
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    headings = [
        found for file in files for found in re.findall(r"^#{2,4} (.+)$", file.read_text(), re.MULTILINE)
    ]
    asked = ["Where can I park my car?", *(f"What about {heading}?" for heading in headings[::3])]
    same, alike = 0, 0.0
    with running(folder) as other:
        for message in asked:
            question = request_bytes("POST", "/api/v1/chat", JSON, chat_body(message))
            here, there = (
                [source["id"] for source in exchange(each.address, question).json()["sources"]]
                for each in (server, other)
            )
            assert bool(here) == bool(there), message
            same += here[:1] == there[:1]
            alike += len({*here} & {*there}) / (len({*here} | {*there}) or 1) if here else 1.0
    assert len(asked) > 50
    # What the two indexes propose differs at the margin, and with every change of the documents.
    assert same / len(asked) > 0.85
    assert alike / len(asked) > 0.8


def test_settings_are_shown_and_started_with_without_the_password(server: ServerProcess) -> None:
    shown = server.command("server", "check")
    assert b"://chatkit:***@127.0.0.1" in shown.stdout
    assert PASSWORD.encode() not in shown.stdout + shown.stderr
    (started,) = server.events("server_started")
    assert "***" in started["settings"]["DATABASE_URL"]


@pytest.mark.parametrize("change", ["port", "password", "database"])
def test_a_start_without_the_database_says_why_and_what_to_do(
    tmp_path: Path, own: Postgres, filled: str, change: str
) -> None:
    url = {
        "port": own.url(filled, free_port()),
        "password": own.url(filled).replace(PASSWORD, PASSWORD[::-1]),
        "database": own.url("no_such_database"),
    }[change]
    for command in (["server"], ["server", "migrate"], ["server", "ingest", str(ROOT / "README.md")]):
        done = ServerProcess(tmp_path, DATABASE_URL=url).command(*command)
        assert done.returncode == 78
        (told,) = [
            event for event in map(json.loads, done.stderr.splitlines()) if event["event"] == "start_failed"
        ]
        assert told["what"] == "open the database"
        assert "DATABASE_URL" in told["fix"]
        assert told["reason"]
        assert PASSWORD.encode() not in done.stderr
        assert PASSWORD[::-1].encode() not in done.stderr


def test_a_database_that_hangs_is_told_in_time_and_found_again(server: ServerProcess, own: Postgres) -> None:
    assert _health(server) == (200, "connected")
    own.signal_all(signal.SIGSTOP)
    try:
        time.sleep(FRESH_SECONDS)
        assert _health(server) == (500, "disconnected")
        assert exchange(server.address, request_bytes("GET", "/health/live")).status == 200
        refused = exchange(server.address, QUESTION)
        assert refused.status == 503
        assert refused.json()["error"] == "service_unavailable"
    finally:
        own.signal_all(signal.SIGCONT)
    until(lambda: _health(server) == (200, "connected"))
    assert exchange(server.address, QUESTION).status == 200


class Visitors:
    """Some who ask without pause, and what they were answered."""

    def __init__(self, server: ServerProcess, count: int = 4) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self._server = server
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self) -> None:
        while not self._ended.is_set():
            answer = exchange(self._server.address, QUESTION)
            self.answers.append((answer.status, answer.body))
            time.sleep(0.01)

    def until(self, status: int, count: int) -> None:
        """Wait until that many more have been answered with `status`."""
        wanted = self.statuses[status] + count
        until(lambda: self.statuses[status] >= wanted, f"{count} more answers with {status}")

    @property
    def statuses(self) -> Counter[int]:
        return Counter(status for status, _ in list(self.answers))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_database_that_is_killed_under_load_is_503_meanwhile_and_comes_back_by_itself(
    tmp_path: Path, own: Postgres, filled: str, workers: str
) -> None:
    with running(tmp_path, DATABASE_URL=own.url(filled), WORKERS=workers) as server:
        server.wait_for("server_started", int(workers))
        with Visitors(server) as visitors:
            visitors.until(200, 20)
            own.signal_all(signal.SIGKILL)
            visitors.until(503, 20)
            own.start()
            visitors.until(200, 50)
        assert visitors.statuses.keys() == {200, 503}
        refused = [json.loads(body) for status, body in visitors.answers if status == 503]
        assert all(body["error"] == "service_unavailable" and body["retry_after"] for body in refused)
        # Once it is back nobody is refused any more.
        last = max(index for index, (status, _) in enumerate(visitors.answers) if status == 503)
        assert len(visitors.answers) - last > 40
        until(lambda: _health(server) == (200, "connected"))
        told = {event["status"] for event in server.events("dependency_call", outcome="failed")}
        assert told
        assert told <= {
            "ECONNREFUSED",
            "08003",
            "08006",
            "57P01",
            "57P02",
            "57P03",
            "ECONNRESET",
            "CONNECTION_CLOSED",
        }
        assert server.events("unhandled_exception") == []
    _holds_no_password(tmp_path)


def test_a_database_that_is_restarted_under_load_costs_only_what_was_in_flight(
    server: ServerProcess, own: Postgres
) -> None:
    with Visitors(server) as visitors:
        visitors.until(200, 20)
        own.stop()
        own.start()
        visitors.until(200, 50)
    assert visitors.statuses.keys() <= {200, 503}
    assert server.events("unhandled_exception") == []


def test_no_worker_opens_more_connections_than_were_allowed(
    tmp_path: Path, own: Postgres, filled: str
) -> None:
    with running(tmp_path, DATABASE_URL=own.url(filled), WORKERS="2", DATABASE_POOL_SIZE="2") as server:
        server.wait_for("server_started", 2)
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chatkit'"
        with Visitors(server, 12) as visitors:
            visitors.until(200, 100)
            assert 2 <= int(own.psql(count)) <= 4
    until(lambda: own.psql(count) == "0", "no connection is left")


def test_production_asks_for_a_migration_and_then_starts(tmp_path: Path, own: Postgres) -> None:
    server = ServerProcess(
        tmp_path,
        ENVIRONMENT="production",
        SECRET_KEY="q8Zt3vYw0Lk5NnRb7HsXcD2eMfGaPjUiQ4xE6rTyW1o",
        DATABASE_URL=own.url(own.database()),
        BASE_URL="https://chat.example.com",
        TRUSTED_PROXIES="127.0.0.1",
        INTEGRATION_TEST_MODE="false",
    )
    refused = server.command("server")
    assert refused.returncode == 78
    assert json.loads(refused.stderr.splitlines()[-1])["fix"] == "Run: python -m server migrate"
    assert server.command("server", "migrate").returncode == 0
    server.start()
    assert server.stop() == 0
