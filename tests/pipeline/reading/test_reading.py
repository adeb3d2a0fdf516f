"""Reading the log: torn and damaged lines included, with the server alive or dead."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.eventlog import EventLog
from pipeline.log import Log
from pipeline.reading import mapping, tail, trace
from pipeline.reading.reader import last_start, lines
from pipeline.record import encode
from pipeline.segments import live_segments, segment_name
from tests.harness import clean_environment
from tests.waiting import ENOUGH_SECONDS


def event(
    seq: int, name: str = "http_request", request_id: str | None = "r-1", boot: str = "aaaaaa", **fields: Any
) -> bytes:
    head = {
        "timestamp": "2026-01-01T12:34:56.789Z",
        "level": fields.pop("level", "INFO"),
        "service": "chatkit-backend",
        "event": name,
        "request_id": request_id,
        "boot": boot,
        "seq": seq,
        "version": "1",
        "config": "c1",
    }
    return json.dumps(head | fields).encode() + b"\n"


def segment(
    folder: Path, *raw: bytes, number: int = 1, boot: str = "aaaaaa", started: float = 1_700_000_000
) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / segment_name(started, boot, number)
    path.write_bytes(b"".join(raw))
    return path


def pipeline(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments, "--log-dir", str(folder)],
        env=clean_environment(),
        capture_output=True,
        timeout=ENOUGH_SECONDS,
        check=False,
    )


def test_segments_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    for number in (10, 9, 2, 1):
        segment(tmp_path, event(number), number=number)
    segment(tmp_path, event(1, boot="bbbbbb"), boot="bbbbbb", started=1_600_000_000)
    (tmp_path / "events-else.jsonl").write_bytes(b"not ours")
    (tmp_path / "other.jsonl").write_bytes(b"not ours")
    assert [path.name.rsplit("-", 1)[1] for path in live_segments(tmp_path)] == [
        "1.jsonl", "1.jsonl", "2.jsonl", "9.jsonl", "10.jsonl",
    ]  # fmt: skip
    assert [line.event["seq"] for line in lines(tmp_path) if line.event] == [1, 1, 2, 9, 10]


def test_a_torn_end_and_a_damaged_middle_are_told_and_passed_over(tmp_path: Path) -> None:
    whole = [event(1), b"\x00\x00\x00\n", event(2), b'["no object"]\n', event(3)[:-20]]
    segment(tmp_path, *whole)
    found = list(lines(tmp_path))
    assert [line.fault for line in found] == [None, "damaged", None, "damaged", "torn"]
    assert [line.offset for line in found] == [sum(map(len, whole[:n])) for n in range(5)]
    assert [line.event["seq"] for line in found if line.event] == [1, 2]


@given(st.binary(max_size=3000), st.integers(0, 3000), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_the_reader_fail_or_invent(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("junk")
    good = bytearray(b"".join(event(number) for number in range(8)))
    good[at % len(good)] = byte
    segment(folder, bytes(good) + junk)
    original = {number: json.loads(event(number)) for number in range(8)}
    intact = 0
    for line in lines(folder):
        if (
            line.event is not None
            and line.event.get("seq") in original
            and line.event == original[line.event["seq"]]
        ):
            intact += 1
    assert intact >= 6  # one flipped byte can hurt its own line, and as a newline made or lost, its neighbour
    assert len(trace.find(folder, "r-1").lines) >= 6


def test_an_empty_folder_and_a_missing_one_have_no_lines(tmp_path: Path) -> None:
    assert list(lines(tmp_path)) == []
    assert list(lines(tmp_path / "missing")) == []
    assert last_start(tmp_path / "missing") is None


def test_a_trace_holds_every_event_of_the_request_in_order_and_no_other(tmp_path: Path) -> None:
    segment(
        tmp_path, event(3, "question_answered"), event(1, "first", boot="aaaaaa"), event(2, request_id="r-10")
    )
    segment(
        tmp_path,
        event(5),
        event(4, "other", request_id=None, note="r-1"),
        event(3, "question_answered"),
        number=2,
    )
    segment(tmp_path, event(1, "retried", boot="bbbbbb"), boot="bbbbbb", started=1_800_000_000)
    assert [(line.event["boot"], line.event["seq"]) for line in trace.find(tmp_path, "r-1").lines if line.event] == [
        ("aaaaaa", 1), ("aaaaaa", 3), ("aaaaaa", 5), ("bbbbbb", 1),
    ]  # fmt: skip


def test_an_id_that_nobody_has_is_exit_1_and_a_sentence(tmp_path: Path) -> None:
    segment(tmp_path, event(1))
    done = pipeline(tmp_path, "trace", "nobody\x1b[31m")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"Nothing in" in done.stderr
    assert b"\x1b" not in done.stderr


def test_a_trace_into_a_pipe_is_the_json_lines(tmp_path: Path) -> None:
    raw = [encode({**json.loads(event(1)), "text": "é\x1b\x9b\u2028"}), event(2)]
    segment(tmp_path, *raw)
    done = pipeline(tmp_path, "trace", "r-1")
    assert done.returncode == 0
    assert done.stdout == b"".join(raw)
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == [1, 2]
    assert b"\x1b" not in done.stdout


def on_a_terminal(folder: Path, *arguments: str) -> str:
    """What `python -m pipeline` draws on a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments, "--log-dir", str(folder)],
        env=clean_environment(TERM="dumb", COLUMNS="160"),
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    drawn = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        drawn += chunk
    os.close(master)
    assert process.wait(ENOUGH_SECONDS) == 0
    return drawn.decode()


def test_a_trace_on_a_terminal_is_drawn_with_the_time_each_part_took(tmp_path: Path) -> None:
    segment(
        tmp_path,
        event(1, "unhandled_exception", level="ERROR", frames=[{"module": "server.x", "function": "f", "line": 7, "ours": True}]),
        event(2, method="POST", path="/api/v1/chat", status=500, outcome="server_error", duration_ms=20.0, db_ms=5.0, text="a\x1b[2J\x9b"),
    )  # fmt: skip
    drawn = on_a_terminal(tmp_path, "trace", "r-1")
    assert "POST /api/v1/chat  500 server_error  20.0 ms" in drawn
    assert "→ server.x:7 in f" in drawn
    assert "database" in drawn
    assert drawn.count("█") == 40 + 10
    assert "\x1b[2J" not in drawn
    assert "\x9b" not in drawn


def test_tail_shows_the_newest_that_are_wanted(tmp_path: Path) -> None:
    segment(
        tmp_path,
        *(event(n, "a" if n % 2 else "b", level="ERROR" if n > 5 else "INFO", status=n) for n in range(10)),
    )

    def shown(*arguments: str) -> list[int]:
        return [
            json.loads(line)["seq"] for line in pipeline(tmp_path, "tail", *arguments).stdout.splitlines()
        ]

    assert shown() == list(range(10))
    assert shown("-n", "3") == [7, 8, 9]
    assert shown("--level", "ERROR") == [6, 7, 8, 9]
    assert shown("--event", "a", "-n", "2") == [7, 9]
    assert shown("--where", "status=4") == [4]
    assert shown("--where", "status=4", "--where", "event=a") == []
    assert "ERROR" in on_a_terminal(tmp_path, "tail")


def test_tail_of_nothing_says_so(tmp_path: Path) -> None:
    done = pipeline(tmp_path / "none", "tail")
    assert done.returncode == 1
    assert b"There is no log" in done.stderr


def test_tail_follows_over_rotations_and_waits_for_whole_lines(tmp_path: Path) -> None:
    first = segment(tmp_path, event(1), event(2)[:30])
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "tail", "-f", "--log-dir", str(tmp_path)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline())["seq"]]
    with first.open("ab") as file:
        file.write(event(2)[30:])
    seen.append(json.loads(process.stdout.readline())["seq"])
    segment(tmp_path, event(3), number=2)
    seen.append(json.loads(process.stdout.readline())["seq"])
    with first.open("ab") as file:
        file.write(event(4))
    seen.append(json.loads(process.stdout.readline())["seq"])
    process.send_signal(signal.SIGINT)
    assert process.wait(ENOUGH_SECONDS) == 130
    process.stdout.close()
    assert seen == [1, 2, 3, 4]


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    segment(tmp_path, *(event(n, text="x" * 500) for n in range(5_000)))
    done = subprocess.run(
        f"{sys.executable} -m pipeline tail -n 5000 --log-dir {tmp_path} | head -n 1",
        shell=True,
        env=clean_environment(),
        capture_output=True,
        timeout=ENOUGH_SECONDS,
        check=False,
    )
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_the_last_start_is_known_by_its_goodbye(tmp_path: Path) -> None:
    segment(tmp_path, event(1, "server_started", None), event(2, "server_stopped", None))
    assert last_start(tmp_path) == ("aaaaaa", "c1", True)
    segment(
        tmp_path,
        event(1, "server_started", None, "bbbbbb"),
        event(2, "http_request", "r", "bbbbbb"),
        b'{"torn',
        boot="bbbbbb",
        started=1_800_000_000,
    )
    assert last_start(tmp_path) == ("bbbbbb", "c1", False)


def test_a_condition_compares_values_as_they_are_written() -> None:
    test = tail.wanted("DEBUG", None, ["ok=true", "n=3", "name=x y"])
    assert test({"level": "INFO", "ok": True, "n": 3, "name": "x y"})
    assert not test({"level": "INFO", "ok": "True", "n": 3, "name": "x y"})


@pytest.mark.parametrize(
    "command", [[], ["--help"], ["trace", "--help"], ["tail", "--help"], ["verify", "--help"]]
)
def test_help_teaches(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *command],
        env=clean_environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == (0 if command else 2)
    assert (command[0] if len(command) == 2 else "verify").encode() in done.stdout + done.stderr
    if len(command) == 2:
        assert b"Example: " in done.stdout


def test_reading_starts_quickly() -> None:
    """Half of what a reader waits for is imports: none of the server's, none of the terminal's."""
    program = "import sys, pipeline.__main__, pipeline.reading.trace; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(), capture_output=True, check=True
    )
    loaded = set(done.stdout.decode().split())
    assert loaded.isdisjoint(
        {"rich", "aiohttp", "server", "sqlalchemy", "pydantic", "orjson", "aiofiles", "asyncio"}
    )


def stamped(second: int, boot: str) -> bytes:
    return event(second, boot=boot, timestamp=f"2026-01-01T12:34:{second:02}.000Z")


def test_what_several_workers_wrote_is_shown_in_the_order_of_time(tmp_path: Path) -> None:
    segment(tmp_path, *(stamped(second, "aaaaaa") for second in range(0, 40, 2)))
    segment(tmp_path, *(stamped(second, "bbbbbb") for second in range(1, 21, 2)), boot="bbbbbb")
    segment(tmp_path, *(stamped(second, "bbbbbb") for second in range(21, 40, 2)), boot="bbbbbb", number=2)
    shown = pipeline(tmp_path, "tail", "-n", "30").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in shown] == list(range(10, 40))


def bytes_read() -> int:
    """What this process has read from files until now."""
    io = Path("/proc/self/io").read_text()
    return int(re.findall(r"^rchar: (\d+)$", io, re.MULTILINE)[0])


def test_the_newest_lines_of_a_long_log_are_found_at_its_end(tmp_path: Path) -> None:
    for number in range(1, 6):
        path = segment(
            tmp_path, *(event(number * 5_000 + n, text="x" * 200) for n in range(5_000)), number=number
        )
        os.utime(path, (1_700_000_000 + number,) * 2)
    before = bytes_read()
    assert [line.event["seq"] for line in tail.newest(tmp_path, 20, lambda _: True) if line.event] == [
        *range(29_980, 30_000)
    ]
    assert bytes_read() - before < 200_000
    before = bytes_read()
    assert len(list(lines(tmp_path))) == 25_000
    assert bytes_read() - before > 5_000_000  # the control: what is read is seen


def test_only_the_blocks_that_an_index_names_are_read(tmp_path: Path) -> None:
    for number in range(1, 6):
        segment(
            tmp_path,
            *(event(number * 5_000 + n, request_id=f"r-{number}-{n}", text="x" * 200) for n in range(5_000)),
            number=number,
        )
    assert len(trace.find(tmp_path, "r-3-777").lines) == 1  # which makes the indexes
    before = bytes_read()
    found = trace.find(tmp_path, "r-3-778").lines
    assert [line.event["seq"] for line in found if line.event] == [15_778]
    assert bytes_read() - before < 600_000


async def test_old_segments_cost_a_start_nothing(tmp_path: Path) -> None:
    for number in range(1, 6):
        segment(tmp_path, *(event(number * 5_000 + n, text="x" * 200) for n in range(5_000)), number=number)
    log = Log()
    log.identify(boot="bbbbbb", version="1", config="c")
    before = bytes_read()
    assert last_start(tmp_path) == ("aaaaaa", "c1", False)
    events = await EventLog(tmp_path, log=log).open()
    log.info("now")
    await events.close()
    assert bytes_read() - before < 300_000
    assert trace.find(tmp_path, "r-1").lines


def test_tail_speaks_the_words_of_others_too(tmp_path: Path) -> None:
    segment(tmp_path, event(1, "http_request", level="WARNING", method="GET", status=404))
    [document] = pipeline(tmp_path, "tail", "--as", "ecs").stdout.splitlines()
    assert mapping.from_ecs(json.loads(document)) == json.loads(
        event(1, "http_request", level="WARNING", method="GET", status=404)
    )
    [request] = pipeline(tmp_path, "tail", "--as", "otel").stdout.splitlines()
    assert mapping.from_otel(json.loads(request)) == mapping.from_ecs(json.loads(document))
    assert on_a_terminal(tmp_path, "tail", "--as", "ecs").strip() == document.decode()
