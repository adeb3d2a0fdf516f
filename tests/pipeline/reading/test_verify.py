"""Is the log whole? What is missing or damaged is told with its place, and nothing else is."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import index
from pipeline.blocks import BLOCK
from pipeline.keeping.archive import archive
from pipeline.reading import tail, trace
from pipeline.reading.gaps import Start, gaps
from pipeline.reading.reader import backwards, lines, segment_lines
from pipeline.reading.runs import Seen
from pipeline.reading.verify import Problem, verify
from pipeline.record import encode
from pipeline.segments import archive_of, create, index_of, segment_name
from tests.pipeline.reading.test_reading import on_a_terminal, pipeline


def event(seq: int, name: str = "http_request", boot: str = "aaaaaa", **fields: Any) -> bytes:
    head = {
        "timestamp": "2026-01-01T12:34:56.789Z",
        "level": "INFO",
        "service": "chatkit-backend",
        "event": name,
        "request_id": f"r-{seq}",
        "boot": boot,
        "seq": seq,
    }
    return encode(head | fields)


def segment(folder: Path, *raw: bytes, number: int = 1, boot: str = "aaaaaa") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / segment_name(1_700_000_000 + number, boot, number)
    path.write_bytes(b"".join(raw))
    return path


def opened(seq: int = 1, boot: str = "aaaaaa") -> bytes:
    return event(seq, "segment_opened", boot)


def problems(folder: Path) -> list[tuple[Any, ...]]:
    """Kind, and where: the offset, or the range of `seq` and how many."""
    return [
        (found.kind, found.from_seq, found.to_seq, found.events)
        if found.kind == "gap"
        else (found.kind, found.offset)
        for found in verify(folder).problems
    ]


def test_a_log_that_is_whole_is_said_to_be(tmp_path: Path) -> None:
    segment(tmp_path, opened(), *(event(seq) for seq in range(2, 50)))
    segment(tmp_path, *(event(seq) for seq in range(50, 80)), number=2)
    done = pipeline(tmp_path, "verify")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == b"The log is whole."
    report = json.loads(pipeline(tmp_path, "verify", "--json").stdout)
    assert report["whole"]
    assert (report["segments"], report["events"], report["problems"]) == (2, 79, [])


def test_a_gap_is_told_with_its_place_and_is_exit_1(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(2), event(6), event(7))
    assert problems(tmp_path) == [("gap", 3, 5, 3)]
    done = pipeline(tmp_path, "verify")
    assert done.returncode == 1
    assert b"3 events of start aaaaaa are missing, seq 3 to 5" in done.stdout
    assert b"The log is NOT whole." in done.stdout


def test_no_log_is_exit_1_and_a_sentence(tmp_path: Path) -> None:
    done = pipeline(tmp_path, "verify")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"There is no log" in done.stderr


def test_on_a_terminal_the_last_word_is_the_judgement(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(2))
    assert on_a_terminal(tmp_path, "verify").rstrip().endswith("The log is whole.")


def test_what_the_log_tells_of_is_no_gap(tmp_path: Path) -> None:
    dropped: dict[str, Any] = {"from_seq": 3, "to_seq": 8, "count": 4, "by_level": {"DEBUG": 4}}
    segment(tmp_path, opened(), event(2), event(5), event(6), event(9, "events_dropped", **dropped))
    assert problems(tmp_path) == []
    assert verify(tmp_path).dropped == 4


def test_more_missing_than_was_told_of_is_a_gap(tmp_path: Path) -> None:
    dropped: dict[str, Any] = {"from_seq": 3, "to_seq": 8, "count": 4, "by_level": {"DEBUG": 4}}
    segment(tmp_path, opened(), event(2), event(5), event(9, "events_dropped", **dropped))
    assert problems(tmp_path) == [("gap", 3, 8, 1)]


def test_the_next_start_may_tell_what_a_killed_one_dropped(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(2), event(5))
    dropped: dict[str, Any] = {
        "from_seq": 3,
        "to_seq": 4,
        "count": 2,
        "by_level": {"INFO": 2},
        "of_boot": "aaaaaa",
    }
    segment(tmp_path, opened(1, "bbbbbb"), event(2, "events_dropped", "bbbbbb", **dropped), boot="bbbbbb")
    assert problems(tmp_path) == []


def test_what_was_recovered_is_neither_missing_nor_torn(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(2), event(3, text="x" * 50)[:-10])
    assert problems(tmp_path) == [("torn", len(opened() + event(2)))]
    recovered = [event(seq, recovered=True) for seq in (3, 4)]
    segment(tmp_path, opened(1, "bbbbbb"), *recovered, boot="bbbbbb", number=1)
    assert problems(tmp_path) == []
    assert verify(tmp_path).recovered == 2


@pytest.mark.parametrize("length", [1, 40, 100])
def test_a_torn_line_too_short_to_say_what_it_is_was_the_next_one(tmp_path: Path, length: int) -> None:
    segment(tmp_path, opened(), event(2), event(3)[:length])
    assert problems(tmp_path) == [("torn", len(opened() + event(2)))]
    segment(tmp_path, opened(1, "bbbbbb"), event(3, recovered=True), boot="bbbbbb", number=1)
    assert problems(tmp_path) == []


def test_a_torn_line_too_short_to_say_what_it_is_is_a_fault_when_the_next_one_is_nowhere(
    tmp_path: Path,
) -> None:
    torn = segment(tmp_path, opened(), event(2), event(4)[:40])
    segment(tmp_path, event(3, "segment_opened"), number=2)
    assert problems(tmp_path) == [("torn", len(opened() + event(2)))], "3 was written before its turn"
    segment(tmp_path, opened(1, "bbbbbb"), event(4, recovered=True), boot="bbbbbb", number=1)
    assert problems(tmp_path) == []
    torn.write_bytes(opened() + event(2) + event(1, "x", "cccccc", recovered=True) + event(4)[:40])
    assert [kind for kind, *_ in problems(tmp_path)] == ["torn"], "what is recovered is not in turn"


def test_behind_what_was_dropped_a_torn_line_is_the_next_one(tmp_path: Path) -> None:
    dropped: dict[str, Any] = {"from_seq": 3, "to_seq": 4, "count": 2, "by_level": {"INFO": 2}}
    segment(tmp_path, opened(), event(2), event(5)[:40])
    recovered = [event(5, recovered=True), event(6, "events_dropped", recovered=True, **dropped)]
    segment(tmp_path, opened(1, "bbbbbb"), *recovered, boot="bbbbbb", number=1)
    assert problems(tmp_path) == []


def test_behind_the_first_line_of_a_segment_a_torn_line_is_the_next_of_the_one_before(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(2))
    segment(tmp_path, event(5, "segment_opened"), event(3)[:40], number=2)
    assert [kind for kind, *_ in problems(tmp_path)] == ["torn", "gap"]
    recovered = [event(seq, recovered=True) for seq in (3, 4)]
    segment(tmp_path, opened(1, "bbbbbb"), *recovered, boot="bbbbbb", number=1)
    assert problems(tmp_path) == []


def test_what_is_still_being_written_may_be_torn_and_have_overtaken(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(2))
    path = tmp_path / segment_name(1_700_000_002, "aaaaaa", 2)
    with open(path, "xb", buffering=0, opener=create) as writing:
        writing.write(event(7, "segment_opened") + event(3) + event(4)[:40])
        assert problems(tmp_path) == []
    segment(tmp_path, event(6, "segment_opened"), event(3), number=2)
    third = tmp_path / segment_name(1_700_000_003, "aaaaaa", 3)
    with open(third, "xb", buffering=0, opener=create) as writing:  # what waited did not fit the second
        writing.write(event(7, "segment_opened"))
        assert problems(tmp_path) == []
        writing.write(event(5))
        assert problems(tmp_path) == [("gap", 4, 4, 1)]
    third.unlink()
    path.write_bytes(event(6, "segment_opened") + event(3) + event(4)[:40])
    assert problems(tmp_path) == [("torn", path.stat().st_size - 40), ("gap", 5, 5, 1)]


def test_what_may_lie_in_the_ring_of_a_killed_start_is_said_to(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(2))
    segment(tmp_path, event(6, "segment_opened"), number=2)
    [problem] = verify(tmp_path).problems
    assert "the next start of the server recovers them" in problem.text
    recovered = [event(seq, recovered=True) for seq in (3, 4, 5)]
    segment(tmp_path, opened(1, "bbbbbb"), *recovered, boot="bbbbbb", number=3)
    assert problems(tmp_path) == []


def test_what_retention_deleted_is_no_gap(tmp_path: Path) -> None:
    segment(tmp_path, event(100, "segment_opened"), event(101), number=4)
    assert problems(tmp_path) == []


def test_an_event_that_stands_there_twice_is_told_and_no_fault(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(2))
    segment(tmp_path, event(2), event(3), number=2)
    assert (verify(tmp_path).twice, problems(tmp_path)) == (1, [])
    assert [line.event["seq"] for line in lines(tmp_path) if line.event] == [1, 2, 3]


LONG = [opened(), *(event(seq, text="x" * 300) for seq in range(2, 600))]


def flipped(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_bit_flipped_in_an_old_segment_is_told_with_its_place_and_the_rest_is_read(tmp_path: Path) -> None:
    path = segment(tmp_path, *LONG)
    index.build(path)
    at = b"".join(LONG).index(b"xxxx", 2 * BLOCK)  # within a text, where the line still parses
    flipped(path, at)
    assert problems(tmp_path) == [("changed", 2 * BLOCK)]
    found = list(lines(tmp_path))
    assert [(line.fault, line.offset) for line in found if line.fault] == [("changed", 2 * BLOCK)]
    assert [line.event["seq"] for line in found if line.event] == list(range(1, 600))
    hurt = next(line for line in found if line.event and line.event.get("text", "x" * 300) != "x" * 300)
    assert hurt.event is not None
    assert b"changed block" in pipeline(tmp_path, "tail", "-n", "1000").stderr
    done = pipeline(tmp_path, "trace", hurt.event["request_id"])
    assert (done.returncode, done.stdout) == (0, hurt.raw + b"\n")
    assert b"changed block" in done.stderr
    index_of(path).unlink()
    assert problems(tmp_path) == []  # the control: it was the checksum that told


def test_a_line_that_is_hurt_is_told_with_its_own_place_too(tmp_path: Path) -> None:
    path = segment(tmp_path, *LONG)
    index.build(path)
    at = sum(map(len, LONG[:200]))
    flipped(path, at)  # its opening brace
    assert problems(tmp_path) == [("changed", at // BLOCK * BLOCK), ("damaged", at), ("gap", 201, 201, 1)]


def test_a_bit_flipped_in_an_archive_costs_its_block_and_the_rest_is_read(tmp_path: Path) -> None:
    live = segment(tmp_path, *LONG)
    index.build(live)
    archive(live, lambda: None)
    assert problems(tmp_path) == []
    flipped(archive_of(live), archive_of(live).stat().st_size // 2)
    found = problems(tmp_path)
    [at] = [problem[1] for problem in found if problem[0] == "unreadable"]
    assert at % BLOCK == 0
    read = {line.event["seq"] for line in lines(tmp_path) if line.event}
    lost = set(range(1, 600)) - read
    assert 0 < len(lost) < 2 * BLOCK // len(LONG[5])
    assert ("gap", min(lost), max(lost), len(lost)) in found
    assert {line.offset for line in lines(tmp_path) if line.fault == "unreadable"} == {at}
    for seq in read:
        if seq % 50 == 0:
            assert len(trace.find(tmp_path, f"r-{seq}").lines) == 1


def test_a_segment_that_was_cut_after_it_was_closed_is_told(tmp_path: Path) -> None:
    path = segment(tmp_path, *LONG)
    index.build(path)
    size = path.stat().st_size - len(LONG[-1])
    with open(path, "r+b") as file:
        file.truncate(size)
    assert problems(tmp_path) == [("changed", size // BLOCK * BLOCK)]


def test_a_damaged_index_is_told_and_nothing_is_believed_of_it(tmp_path: Path) -> None:
    path = segment(tmp_path, *LONG)
    index.build(path)
    flipped(index_of(path), 100)
    assert problems(tmp_path) == [("index", None)]
    assert len(trace.find(tmp_path, "r-300").lines) == 1


def test_what_cannot_be_read_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(2))
    (tmp_path / segment_name(1_700_000_000, "aaaaaa", 7)).mkdir()
    assert [kind for kind, *_ in problems(tmp_path)] == ["unreadable"]
    assert len(trace.find(tmp_path, "r-2").lines) == 1


def test_a_reader_that_cannot_keep_an_index_reads_all_the_same(tmp_path: Path) -> None:
    segment(tmp_path, *LONG)
    (tmp_path / "index").write_text("in the way")
    assert len(trace.find(tmp_path, "r-300").lines) == 1


def test_a_reader_leaves_no_index_in_the_log_of_another_user(tmp_path: Path) -> None:
    path = segment(tmp_path, *LONG)
    assert len(trace.find(tmp_path, "r-300").lines) == 1
    assert index_of(path).exists()  # the control: in its own it does
    if os.geteuid() == 0:
        index_of(path).unlink()
        os.chown(path, 65534, 65534)
        assert len(trace.find(tmp_path, "r-300").lines) == 1
        assert not index_of(path).exists()


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_happens_to_the_files_no_reader_fails_and_no_record_is_wrong_unsaid(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = segment(folder, *LONG)
    index.build(path)
    if data.draw(st.booleans(), "archived"):
        archive(path, lambda: None)
        path = archive_of(path)
    victim = data.draw(st.sampled_from([path, index_of(path)]), "victim")
    content = bytearray(victim.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1), "at")
    match data.draw(st.sampled_from(["flip", "cut", "insert", "zeros"]), "how"):
        case "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
        case "cut":
            del content[at:]
        case "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=50), "junk")
        case "zeros":
            content[at : at + 5_000] = bytes(len(content[at : at + 5_000]))
    victim.write_bytes(content)
    originals = {json.loads(raw)["seq"]: raw[:-1] for raw in LONG}
    changed = set()
    for line in lines(folder):
        if line.fault == "changed":
            changed.add(line.offset // BLOCK)
        if line.event is not None and originals.get(line.event.get("seq")) != line.raw:
            assert changed & {line.offset // BLOCK, (line.offset + len(line.raw)) // BLOCK}
    verify(folder)
    tail.newest(folder, 1_000, lambda _: True)
    sought = random.Random(at).randrange(1, 600)
    for line in trace.find(folder, f"r-{sought}").lines:
        assert line.event is not None


@given(st.lists(st.tuples(st.integers(0), st.binary(max_size=9))), st.booleans())
@settings(max_examples=60, deadline=None)
def test_read_backwards_the_lines_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, inserts: list[tuple[int, bytes]], archived: bool
) -> None:
    path = segment(tmp_path_factory.mktemp("back"))
    content = bytearray(b"".join(LONG))
    for at, junk in inserts:
        content[at % len(content) : at % len(content)] = junk
    path.write_bytes(content)
    if archived:
        archive(path, lambda: None)
        path = archive_of(path)
    assert list(backwards(path))[::-1] == list(segment_lines(path))


@given(st.binary(max_size=4_000), st.sampled_from([".jsonl", ".jsonl.gz", ".idx"]))
@settings(max_examples=150, deadline=None)
def test_no_bytes_make_a_reader_fail(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("junk")
    path = segment(folder, opened(), event(2))
    (folder / "archive").mkdir()
    (folder / "index").mkdir()
    if kind == ".jsonl":
        path.write_bytes(junk)
    elif kind == ".idx":
        index_of(path).write_bytes(junk)
    else:
        archive_of(path.with_name(segment_name(1_600_000_000, "000000", 1))).write_bytes(junk)
    list(lines(folder))
    verify(folder)
    tail.newest(folder, 10, lambda _: True)
    trace.find(folder, "r-2")


NUMBERS = st.integers(1, 40)


@given(st.sets(NUMBERS, min_size=1), st.lists(st.tuples(NUMBERS, NUMBERS)))
@settings(max_examples=300, deadline=None)
def test_gaps_are_what_is_missing_between_the_first_and_the_last_and_told_of_nowhere(
    seqs: set[int], ranges: list[tuple[int, int]]
) -> None:
    start = Start()
    for seq in seqs:
        assert start.seen.add(seq)
        assert not start.seen.add(seq)
    start.dropped = [(min(pair), max(pair), 40) for pair in ranges]
    told_of = {seq for first, last, _ in start.dropped for seq in range(first, last + 1)}
    missing = set(range(min(seqs), max(seqs))) - seqs
    found, explained = gaps(start)
    assert {seq for gap in found for seq in range(gap.first, gap.last + 1)} == missing - told_of
    assert explained == len(missing & told_of)


@given(st.lists(st.integers(0, 60)))
@settings(max_examples=300, deadline=None)
def test_runs_hold_exactly_what_was_seen(numbers: list[int]) -> None:
    seen, known = Seen(), set()
    for number in numbers:
        assert seen.add(number) is (number not in known)
        known.add(number)
    assert {number for first, last in seen.runs for number in range(first, last + 1)} == known
    assert all(before[1] + 1 < after[0] for before, after in zip(seen.runs, seen.runs[1:], strict=False))


def test_a_problem_is_a_flat_object_for_programs(tmp_path: Path) -> None:
    segment(tmp_path, opened(), event(3))
    [problem] = json.loads(pipeline(tmp_path, "verify", "--json").stdout)["problems"]
    assert set(problem) == set(Problem._fields)
    assert (problem["kind"], problem["boot"], problem["from_seq"]) == ("gap", "aaaaaa", 2)
