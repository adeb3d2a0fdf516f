"""Several workers are one server: any of them answers for all, and one that is killed takes nothing along."""

import http.client
import json
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.ledger import judged, times
from tests.harness import ServerProcess, chat_body, exchange, request_bytes, running, with_documents
from tests.waiting import ENOUGH_SECONDS, until


def metrics(server: ServerProcess) -> dict[str, Any]:
    answer = exchange(server.address, request_bytes("GET", "/metrics"))
    assert answer.status == 200, answer.raw
    found: dict[str, Any] = answer.json()
    return found


def counted(server: ServerProcess, requests: int) -> None:
    """Wait until whoever is asked knows of so many: what a worker counted is for others to see within a second."""
    until(lambda: {metrics(server)["total_requests"] for _ in range(8)} == {requests}, f"{requests} requests")


def start_of(server: ServerProcess) -> tuple[float, float]:
    """Between which times, of the monotonic clock, the server began, as one answer tells."""
    asked = time.monotonic()
    whole = exchange(server.address, request_bytes("GET", "/health")).json()["uptime_seconds"]
    return asked - whole - 1, time.monotonic() - whole


def started(server: ServerProcess) -> dict[str, int]:
    """Boot → process, of every worker that ever started."""
    return {event["boot"]: event["pid"] for event in server.events("segment_opened")}


@pytest.fixture
def pair(tmp_path: Path, documents: Path) -> Iterator[ServerProcess]:
    with_documents(tmp_path, documents)
    with running(tmp_path, WORKERS="2") as server:
        server.wait_for("server_started", 2)
        yield server


def test_each_worker_answers_for_all(pair: ServerProcess) -> None:
    for _ in range(40):
        assert exchange(pair.address, request_bytes("GET", "/widget/chatkit.js")).status == 200
    counted(pair, 40)
    answers = [metrics(pair) for _ in range(20)]
    assert {answer["total_requests"] for answer in answers} == {40}
    assert {answer["server"]["workers"] for answer in answers} == {2}
    assert {answer["windows"]["1m"]["requests"] for answer in answers} == {40}
    by_boot = Counter(event["boot"] for event in pair.events("http_request"))
    assert len(by_boot) == 2, "both were asked"
    began = [start_of(pair) for _ in range(8)]
    assert max(earliest for earliest, _ in began) <= min(latest for _, latest in began)


def test_totals_outlive_a_restart_with_fewer_workers(tmp_path: Path) -> None:
    for workers in ("3", "1", "2"):
        with running(tmp_path, WORKERS=workers) as server:
            server.wait_for("server_started", int(workers))
            for _ in range(10):
                exchange(server.address, request_bytes("GET", "/nowhere"))
    with running(tmp_path, WORKERS="1") as server:
        assert metrics(server)["total_requests"] == 30


def test_a_worker_that_dies_is_replaced_and_told_of(pair: ServerProcess) -> None:
    boot, pid = next(iter(started(pair).items()))
    os.kill(pid, signal.SIGKILL)
    (told,) = pair.wait_for("worker_died")
    assert (told["of_boot"], told["pid"], told["level"]) == (boot, pid, "WARNING")
    pair.wait_for("server_started", 3)
    assert len(started(pair)) == 3


def test_what_is_in_the_way_of_the_workers_is_said_and_ends_them(tmp_path: Path) -> None:
    with running(tmp_path / "one", WORKERS="2") as server:
        second = ServerProcess(tmp_path / "one", WORKERS="2").command("server")
        assert second.returncode == 78
        (told,) = [json.loads(line) for line in second.stderr.splitlines()]
        assert (told["event"], told["what"]) == ("start_failed", "open the log")
        (tmp_path / "two").mkdir()
        taken = ServerProcess(tmp_path / "two", WORKERS="2", PORT=str(server.address[1])).command("server")
        assert taken.returncode == 78
        events = [json.loads(line) for line in taken.stderr.splitlines()]
        assert events[-1]["event"] == "start_failed"
        assert "PORT" in events[-1]["fix"]


class Visitor(threading.Thread):
    """Asks until told to stop; `answered` holds the IDs of the requests that were answered."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__()
        self.address = address
        self.answered: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.ended = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        while not self.ended.is_set():
            request_id = str(uuid.uuid4())
            try:
                connection.request(
                    "POST",
                    "/api/v1/chat",
                    chat_body("How do I trace a request?"),
                    {"X-Request-ID": request_id, "Content-Type": "application/json"},
                )
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()  # Its worker was killed; it asks again, another one.
                continue
            self.statuses[answer.status] += 1
            self.answered.append(request_id)
        connection.close()


def test_workers_that_are_killed_under_load_lose_no_event_and_the_totals_are_exact(
    pair: ServerProcess,
) -> None:
    visitors = [Visitor(pair.address) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    killed: set[int] = set()
    for _ in range(times(3, 30)):
        time.sleep(times(1, 2))
        alive = [pid for pid in started(pair).values() if pid not in killed and Path(f"/proc/{pid}").exists()]
        os.kill(alive[0], signal.SIGKILL)
        killed.add(alive[0])
        pair.wait_for("worker_died", len(killed))
    for visitor in visitors:
        visitor.ended.set()
    for visitor in visitors:
        visitor.join(ENOUGH_SECONDS)
    pair.wait_for("server_started", 2 + len(killed))
    for visitor in visitors:
        pair.wait_for("http_request", request_id=visitor.answered[-1])
    requests = [
        event
        for event in judged(pair.log_dir).events
        if event["event"] == "http_request" and event["route"] not in {"/metrics", "/health"}
    ]
    counted(pair, len(requests))
    totals = [metrics(pair)["total_requests"] for _ in range(6)]

    answered = [request_id for visitor in visitors for request_id in visitor.answered]
    assert sum((visitor.statuses for visitor in visitors), Counter()).keys() == {200}
    assert len(answered) > 50 * len(killed)
    found = judged(pair.log_dir)
    told = Counter(event["request_id"] for event in found.events if event["event"] == "question_answered")
    assert set(answered) <= told.keys()
    assert set(told.values()) == {1}
    assert (found.copies, found.damaged, found.dropped, found.missing) == (0, 0, 0, [])
    assert set(totals) == {len(requests)}
    assert any(event.get("recovered") for event in found.events) or len(killed) < 10
