"""The index: it leads to every event of a request, and is not believed when it is not what was kept."""

from array import array
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import index
from pipeline.blocks import BLOCK
from pipeline.checksum import hash_of
from pipeline.record import encode
from pipeline.segments import index_of, segment_name

IDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", min_size=1, max_size=64)
LINES = st.lists(st.tuples(IDS | st.none(), st.integers(0, 7_500)), max_size=120)


def line(seq: int, request_id: str | None, length: int) -> bytes:
    head: dict[str, Any] = {
        "timestamp": "2026-01-01T12:34:56.789Z",
        "level": "INFO",
        "service": "chatkit-backend",
        "event": "http_request",
        "request_id": request_id,
        "boot": "aaaaaa",
        "seq": seq,
    }
    return encode(head | {"text": "x" * length})


def in_blocks(data: bytes) -> list[bytes]:
    return [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]


def places(lines: list[bytes]) -> list[int]:
    """The block in which each line begins."""
    offsets = [sum(map(len, lines[:number])) for number in range(len(lines))]
    return [offset // BLOCK for offset in offsets]


@given(LINES)
@settings(max_examples=150, deadline=None)
def test_every_event_of_a_request_is_where_the_index_says(events: list[tuple[str | None, int]]) -> None:
    lines = [line(number, request_id, length) for number, (request_id, length) in enumerate(events)]
    built = index.index_blocks(in_blocks(b"".join(lines)))
    for (request_id, _), place in zip(events, places(lines), strict=True):
        if request_id is not None:
            assert place in built.blocks(request_id.encode())


@given(LINES, st.lists(st.integers(1, 2 * BLOCK)), st.integers(0, 1 << 40))
@settings(max_examples=150, deadline=None)
def test_an_index_that_grows_with_its_segment_says_what_one_of_the_whole_file_says(
    events: list[tuple[str | None, int]], cuts: list[int], offset: int
) -> None:
    lines = [line(number, request_id, length) for number, (request_id, length) in enumerate(events)]
    data = b"".join(lines)
    growing = index.Growing()
    starts = [0, *accumulate(map(len, lines))]
    done = told = 0
    for cut in [*cuts, len(data)]:  # whatever was written at once
        growing.wrote(data[done : done + cut])
        done = min(len(data), done + cut)
        until = bisect_right(starts, done) - 1
        hashes = (0 if one is None else hash_of(one.encode()) for one, _ in events[told:until])
        places = array("Q", [offset + start for start in starts[told:until]])
        growing.lines(places, -offset, b"".join(one.to_bytes(3, "little") for one in hashes))
        told = until
    grown, built = growing.index(), index.index_blocks(in_blocks(data))
    assert (grown.size, grown.checksums) == (built.size, built.checksums)
    for request_id, _ in events:
        if request_id is not None:
            found = built.blocks(request_id.encode())
            assert found
            assert grown.blocks(request_id.encode()) == found


@pytest.mark.parametrize("slack", [-1, 0, 1])
def test_a_line_that_begins_at_a_block_counts_there_and_one_across_it_where_it_began(slack: int) -> None:
    first = line(1, "first", 7_000)
    lines = [first] * (BLOCK // len(first))
    missing = BLOCK - sum(map(len, lines)) - len(line(2, "filler", 0)) + slack
    lines += [line(2, "filler", missing), line(3, "last", 10)]
    built = index.index_blocks(in_blocks(b"".join(lines)))
    assert built.blocks(b"last") == [0 if slack < 0 else 1]
    assert built.blocks(b"filler") == [0]


def test_a_request_that_is_not_there_is_looked_for_almost_nowhere() -> None:
    lines = [line(number, f"request-{number}", 200) for number in range(20_000)]
    built = index.index_blocks(in_blocks(b"".join(lines)))
    wrong = sum(len(built.blocks(f"absent-{number}".encode())) for number in range(300))
    assert wrong < 10  # three bytes of hash: one in eight hundred looks into one block


@given(st.binary(max_size=3 * BLOCK))
@settings(max_examples=50, deadline=None)
def test_any_bytes_can_be_indexed_and_kept(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    segment = tmp_path_factory.mktemp("any") / segment_name(1_700_000_000, "aaaaaa", 1)
    segment.write_bytes(data)
    built = index.build(segment)
    assert (built.size, len(built.checksums)) == (len(data), -(-len(data) // BLOCK))
    assert index.load(segment) == built


@given(st.integers(0), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_or_torn_index_is_not_believed(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    segment = tmp_path_factory.mktemp("flip") / segment_name(1_700_000_000, "aaaaaa", 1)
    segment.write_bytes(b"".join(line(number, f"r-{number}", 100) for number in range(50)))
    index.build(segment)
    kept = index_of(segment).read_bytes()
    damaged = bytearray(kept)
    damaged[at % len(kept)] ^= flip
    index_of(segment).write_bytes(damaged)
    assert index.load(segment) is None
    index_of(segment).write_bytes(kept[: at % len(kept)])
    assert index.load(segment) is None
    index_of(segment).write_bytes(kept)
    assert index.load(segment) is not None


def test_an_index_is_whole_or_not_there(tmp_path: Path) -> None:
    segment = tmp_path / segment_name(1_700_000_000, "aaaaaa", 1)
    segment.write_bytes(line(1, "r-1", 10))
    index_of(segment).parent.mkdir()
    index_of(segment).mkdir()  # what cannot be replaced
    with pytest.raises(IsADirectoryError):
        index.build(segment)
    assert [path.name for path in index_of(segment).parent.iterdir()] == [index_of(segment).name]


def test_an_index_is_small() -> None:
    lines = [line(number, f"{number:036}", 90) for number in range(5_000)]
    assert sum(map(len, lines)) / len(lines) < 300
    data = b"".join(lines)
    assert len(index.index_blocks(in_blocks(data)).entries) + 8 * (len(data) // BLOCK + 1) < 0.015 * len(data)
