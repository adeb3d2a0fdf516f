"""Is it well? An answer that is quick, true, and says nothing it should not."""

import asyncio
import json
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from server.operations.health import FRESH_SECONDS, PATIENCE_SECONDS, Dependency
from tests.harness import ServerProcess, chat_body, exchange, request_bytes
from tests.reading_log import events
from tests.waiting import ENOUGH_SECONDS


def get(server: ServerProcess, path: str) -> tuple[int, dict[str, Any]]:
    answer = exchange(server.address, request_bytes("GET", path))
    return answer.status, answer.json()


def test_a_well_server_says_ok_connected_and_its_uptime(server: ServerProcess) -> None:
    started = datetime.fromisoformat(server.wait_for("server_started")[0]["timestamp"]).timestamp()
    before = time.time()
    status, body = get(server, "/health")
    assert (status, list(body)) == (200, ["status", "database", "uptime_seconds"])
    assert (body["status"], body["database"]) == ("ok", "connected")
    # It began a moment before it could say that it had started.
    assert before - started - 1 <= body["uptime_seconds"] <= time.time() - started + ENOUGH_SECONDS
    assert get(server, "/health/live") == (200, {"status": "ok"})
    assert get(server, "/health/ready") == (200, {"status": "ready", "reasons": []})


def test_a_database_that_is_gone_is_degraded_not_ready_and_told_of_once(server: ServerProcess) -> None:
    database = server.folder / "var" / "chatkit.db"
    away = database.with_suffix(".away")
    assert get(server, "/health")[0] == 200
    database.rename(away)
    time.sleep(FRESH_SECONDS + 0.1)
    status, body = get(server, "/health")
    assert (status, body["status"], body["database"]) == (500, "degraded", "disconnected")
    assert get(server, "/health/ready") == (
        503,
        {"status": "unavailable", "reasons": ["database_disconnected"]},
    )
    # Questions make no empty database in its place, behind which the loss would hide, and are not kept in the one that is gone.
    json_body = {"Content-Type": "application/json"}
    for _ in range(30):
        question = request_bytes("POST", "/api/v1/chat", json_body, chat_body("Is anybody there?"))
        assert exchange(server.address, question).status == 503
    assert not database.exists()
    probes = server.events("http_request", route="/health", status=500)
    assert {event["level"] for event in probes} == {"INFO"}
    assert get(server, "/health/live")[0] == 200
    away.rename(database)
    time.sleep(FRESH_SECONDS + 0.1)
    assert get(server, "/health")[0] == 200
    changes = server.wait_for("dependency_state_changed", 2)
    assert [event["state"] for event in changes] == ["disconnected", "connected"]


def test_a_damaged_database_is_degraded(server: ServerProcess) -> None:
    assert get(server, "/health")[0] == 200
    server.damage_database()
    time.sleep(FRESH_SECONDS + 0.1)
    assert get(server, "/health")[0] == 500


def test_a_locked_database_can_still_be_read(server: ServerProcess) -> None:
    holder = sqlite3.connect(server.folder / "var" / "chatkit.db")
    holder.execute("BEGIN EXCLUSIVE")
    time.sleep(FRESH_SECONDS + 0.1)
    assert get(server, "/health")[0] == 200
    holder.rollback()
    holder.close()


async def test_a_dependency_that_hangs_is_disconnected_in_time_and_asked_only_once() -> None:
    asked = 0
    release = asyncio.Event()

    async def hang() -> None:
        nonlocal asked
        asked += 1
        await release.wait()

    dependency = Dependency("database", hang)
    async with asyncio.timeout(PATIENCE_SECONDS * 20):  # without patience of its own it would wait for ever
        answers = await asyncio.gather(*(dependency.is_connected() for _ in range(50)))
    assert answers == [False] * 50
    assert asked == 1
    release.set()
    await asyncio.sleep(0.01)
    assert await dependency.is_connected()
    assert asked == 1


def test_of_a_dependency_that_is_only_used_each_change_is_told_once() -> None:
    mail = Dependency("mail")
    with events() as written:
        for connected in (True, True, False, False, True):
            mail.tell(connected, "" if connected else "TimeoutError")
    assert [(event["dependency"], event["state"], event["reason"]) for event in written] == [
        ("mail", "disconnected", "TimeoutError"),
        ("mail", "connected", ""),
    ]


async def test_a_check_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def probe() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise ConnectionError

    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    dependency = Dependency("database", probe)
    for _ in range(10):
        assert await dependency.is_connected()
    assert asked == 1
    now += FRESH_SECONDS
    assert not await dependency.is_connected()
    now += FRESH_SECONDS
    assert await dependency.is_connected()
    assert asked == 3


async def test_what_cannot_be_asked_is_as_it_was_told() -> None:
    dependency = Dependency("llm")
    assert (await dependency.is_connected(), dependency.state) == (False, "unknown")
    dependency.tell(connected=True, reason="")
    assert (await dependency.is_connected(), dependency.state) == (True, "connected")
    dependency.tell(connected=False, reason="TimeoutError")
    assert (await dependency.is_connected(), dependency.state) == (False, "disconnected")


def test_neither_health_nor_metrics_tells_a_secret_or_an_internal(server: ServerProcess) -> None:
    for file in (server.folder / "var").glob("chatkit.db*"):
        file.unlink()
    time.sleep(FRESH_SECONDS + 0.1)
    exchange(server.address, request_bytes("GET", "/test/faults/exception", {"User-Agent": "spy/1.0"}))
    key = (server.folder / "var" / "state" / "development-key").read_text()
    for path, accept in (
        ("/health", ""),
        ("/health/ready", ""),
        ("/metrics", ""),
        ("/metrics", "text/plain"),
    ):
        text = exchange(
            server.address, request_bytes("GET", path, {"Accept": accept} if accept else {})
        ).body.decode()
        for secret in (
            key,
            str(Path.home()),
            str(server.folder),
            "sqlite",
            "chatkit.db",
            "InjectedFault",
            "hunter2",
            "spy",
            "127.0.0.1",
        ):
            assert secret not in text, (path, secret)


def test_asking_changes_nothing(server: ServerProcess) -> None:
    for _ in range(3):
        for path in ("/health", "/health/live", "/health/ready", "/metrics"):
            exchange(server.address, request_bytes("GET", path))
    server.wait_for("http_request", 12)
    told = json.loads(exchange(server.address, request_bytes("GET", "/metrics")).body)
    assert told["total_requests"] == 0
    assert told["windows"]["1m"]["requests"] == 0
