"""Start and stop: in order, in time, with nothing lost, and with words when it cannot be."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from tests.harness import Event, ServerProcess, exchange, free_port, request_bytes, running
from tests.terminal import serving_on_a_terminal
from tests.waiting import ENOUGH_SECONDS, soon


def failed_start(server: ServerProcess) -> Event:
    """The one event with which a start is refused."""
    done = server.command("server")
    assert done.returncode == 78, done.stderr.decode()
    told: list[Event] = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in told] == ["start_failed"]
    assert told[0]["fix"]
    return told[0]


def test_a_start_and_a_stop_are_the_first_and_the_last_thing_in_the_log(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert server.stop() == 0
        events = [event["event"] for event in server.events()]
        assert events[0] == "segment_opened"
        assert "server_started" in events
        assert events[-2:] == ["server_stopping", "server_stopped"]
        (started,) = server.events("server_started")
        assert started["previous_boot"] is None
        assert started["previous_boot_crashed"] is False
        assert started["settings"]["ENVIRONMENT"] == "development"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_stop_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as server:
        assert server.stop(number) == 0
        assert server.events("server_stopping")[0]["reason"] == number.name


def test_a_start_after_a_kill_says_that_the_one_before_crashed(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        first = server.wait_for("server_started")[0]["boot"]
        server.kill()
        server.start()
        second = server.wait_for("server_started", 2)[-1]
        assert (second["previous_boot"], second["previous_boot_crashed"]) == (first, True)
        server.stop()
        server.start()
        third = server.wait_for("server_started", 3)[-1]
        assert (third["previous_boot"], third["previous_boot_crashed"]) == (second["boot"], False)


def test_a_start_with_other_settings_says_so(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.stop()
        server.settings["LOG_LINGER_MS"] = "2"
        server.start()
        (changed,) = server.wait_for("config_changed")
        started = server.events("server_started")
        assert [event["config"] for event in started] == [changed["previous"], changed["current"]]


def test_without_a_terminal_the_banner_is_an_event(server: ServerProcess) -> None:
    (line,) = server.stderr.read_bytes().splitlines()
    assert json.loads(line)["listening"] == server.url


def test_on_a_terminal_the_banner_says_where_it_is_where_it_writes_and_how_to_trace(tmp_path: Path) -> None:
    with serving_on_a_terminal(tmp_path) as shown_until:
        shown = shown_until(b"Ctrl-C")
    for told in (
        b"http://127.0.0.1:",
        b"var/log",
        b"python -m pipeline tail -f",
        b"python -m pipeline trace ID",
    ):
        assert told in shown
    assert b'{"timestamp"' not in shown


def test_a_port_that_is_taken_is_said_plainly(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        told = failed_start(ServerProcess(tmp_path, PORT=str(taken.getsockname()[1])))
    assert told["what"] == "listen"
    assert "PORT" in told["fix"]


def test_an_address_of_redis_with_options_that_there_are_not_is_said_plainly(tmp_path: Path) -> None:
    told = failed_start(ServerProcess(tmp_path, REDIS_URL="redis://:hunter2@127.0.0.1/0?wombats=7"))
    assert told["what"] == "count in Redis"
    assert "REDIS_URL" in told["fix"]
    assert "hunter2" not in str(told)


def test_a_second_server_on_one_log_is_refused_and_the_first_goes_on(server: ServerProcess) -> None:
    told = failed_start(ServerProcess(server.folder, PORT=str(free_port())))
    assert told["what"] == "open the log"
    assert "LOG_DIR" in told["fix"]
    assert exchange(server.address, request_bytes("GET", "/health")).status == 200
    assert len(server.events("server_started")) == 1


def test_a_log_that_cannot_be_opened_is_a_server_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("a file, not a folder")
    told = failed_start(ServerProcess(tmp_path, LOG_DIR="in-the-way/log"))
    assert told["what"] == "write the log"
    assert "LOG_DIR" in told["fix"]


def test_a_database_that_cannot_be_opened_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"this is no database" * 1000)
    server = ServerProcess(tmp_path, DATABASE_URL="sqlite+aiosqlite:///broken.db")
    assert failed_start(server)["what"] == "open the database"
    (logged,) = server.events("start_failed")  # the log was open by then, and has it too
    assert logged["fix"]


def test_a_start_that_failed_is_no_crash_and_said_no_goodbye(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, DATABASE_URL="sqlite+aiosqlite:///broken.db")
    (tmp_path / "broken.db").write_bytes(b"this is no database" * 1000)
    failed_start(server)
    assert [event["event"] for event in server.events()][-1] == "start_failed"
    assert server.events("server_stopping") == server.events("server_stopped") == []
    (tmp_path / "broken.db").unlink()
    with running(tmp_path, DATABASE_URL="sqlite+aiosqlite:///broken.db") as started:
        assert started.wait_for("server_started")[-1]["previous_boot_crashed"] is False


def test_whatever_is_in_the_way_of_a_start_is_an_event_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("in the way")
    assert failed_start(ServerProcess(tmp_path, STATE_DIR="a-file"))["what"] == "keep state"
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")
    done = ServerProcess(tmp_path).command("server")
    assert done.returncode == 78
    assert json.loads(done.stderr)["problems"][0]["problem"] == "is not UTF-8 text"


def test_a_database_from_the_future_is_said_plainly(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    assert server.command("server", "migrate").returncode == 0
    with sqlite3.connect(tmp_path / "var" / "chatkit.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    told = failed_start(server)
    assert told["what"] == "use the database"
    assert "newer" in told["reason"]


def test_a_stray_file_in_the_log_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "var" / "log").mkdir(parents=True)
    for name in (
        "events-a-b-².jsonl",
        "events-.jsonl",
        "events-1-2-3-4.jsonl",
        "events-20260101T000000000Z-abcdef-1.jsonl",
    ):
        (tmp_path / "var" / "log" / name).write_bytes(b"\xff\n{}\n[]\n")
    with running(tmp_path) as server:
        assert exchange(server.address, request_bytes("GET", "/health")).status == 200


def test_production_does_not_migrate_by_itself(tmp_path: Path) -> None:
    server = ServerProcess(
        tmp_path,
        ENVIRONMENT="production",
        SECRET_KEY="q8Zt3vYw0Lk5NnRb7HsXcD2eMfGaPjUiQ4xE6rTyW1o",
        DATABASE_URL="sqlite+aiosqlite:///var/chatkit.db",
        BASE_URL="https://chat.example.com",
        TRUSTED_PROXIES="127.0.0.1",
        INTEGRATION_TEST_MODE="false",
    )
    assert failed_start(server)["reason"] == "there is no database at var/chatkit.db"
    assert server.command("server", "migrate").returncode == 0
    server.start()
    assert server.stop() == 0


def test_a_run_writes_only_where_it_is_told_to(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        exchange(server.address, request_bytes("GET", "/"))
        server.stop()
        server.stderr.unlink()
        assert {path.name for path in tmp_path.iterdir()} == {"var"}
        assert {path.name.partition("-")[0].partition(".")[0] for path in (tmp_path / "var").iterdir()} == {
            "log",
            "state",
            "chatkit",
        }


def test_a_request_in_flight_is_finished_and_new_ones_are_turned_away(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        slow = socket.create_connection(server.address, timeout=10)
        slow.sendall(request_bytes("GET", "/test/faults/slow?seconds=1", {"X-Request-ID": "in-flight"}))
        server.wait_for("fault_injected", request_id="in-flight")
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("server_stopping")
        with pytest.raises(ConnectionError):
            exchange(server.address, request_bytes("GET", "/health"))
        answer = slow.recv(65536)
        slow.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert server.process.wait(ENOUGH_SECONDS) == 0
        (event,) = server.events("http_request", request_id="in-flight")
        assert event["outcome"] == "ok"
        order = [
            e["event"]
            for e in server.events()
            if e["event"] in {"server_stopping", "http_request", "server_stopped"}
        ]
        assert order == ["server_stopping", "http_request", "server_stopped"]


def test_a_request_that_does_not_end_is_cut_off_at_the_deadline_and_recorded(tmp_path: Path) -> None:
    with running(tmp_path, SHUTDOWN_SECONDS="1") as server:
        slow = socket.create_connection(server.address, timeout=10)
        slow.sendall(request_bytes("GET", "/test/faults/slow?seconds=30", {"X-Request-ID": "endless"}))
        server.wait_for("fault_injected", request_id="endless")
        assert server.stop() == 0
        slow.close()
        (event,) = server.events("http_request", request_id="endless")
        assert event["outcome"] == "aborted"
        assert server.events()[-1]["event"] == "server_stopped"


async def test_every_answer_given_before_a_stop_under_load_is_in_the_log(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        answered: dict[str, int] = {}
        sent = 0

        async def visitor(name: str) -> None:
            nonlocal sent
            async with aiohttp.ClientSession() as session:
                for number in range(100_000):
                    request_id = f"{name}-{number}"
                    sent += 1
                    try:
                        async with session.get(
                            server.url + "/nowhere", headers={"X-Request-ID": request_id}
                        ) as response:
                            await response.read()
                            answered[request_id] = response.status
                    except aiohttp.ClientError:
                        return

        visitors = [asyncio.create_task(visitor(f"v{number}")) for number in range(16)]
        await soon(lambda: len(answered) > 200)
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*visitors), ENOUGH_SECONDS)
        assert server.process.wait(ENOUGH_SECONDS) == 0
        logged = {event["request_id"]: event["status"] for event in server.events("http_request")}
        assert answered.items() <= logged.items()
        assert len(logged) <= sent
        sequence = sorted(event["seq"] for event in server.events())
        assert sequence == list(range(1, len(sequence) + 1))
        assert server.events()[-1]["event"] == "server_stopped"
