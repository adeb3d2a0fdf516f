"""The ring gives back what was put in, in order, over any number of turns, and after its process is gone."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ring import HEADER_BYTES, Damaged, Owner, Ring, RingInUse

SHARES = {10: 0.5, 20: 0.9, 50: 1.0}
LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"-") + b"\n"), max_size=200)


def held(ring: Ring) -> list[bytes | None]:
    return [one.line for one in ring.held()]


@given(LINES, st.integers(48, 97), st.randoms(use_true_random=False))
def test_what_comes_out_is_what_went_in(lines: list[bytes], size: int, rng: random.Random) -> None:
    ring = Ring(size, SHARES, slots=16)
    out = bytearray()
    for line in lines:
        if not ring.put(line, 50):
            out += b"".join(ring.between(ring.tail_place, ring.place))
            ring.release(ring.head)
            assert ring.put(line, 50) == ring.head
        if rng.random() < 0.3:
            number = rng.randint(ring.tail, ring.head)
            out += b"".join(ring.between(ring.tail_place, ring.end_of(number)))
            ring.release(number)
        assert held(ring) == [one for one in held(ring) if one is not None]
    out += b"".join(ring.between(ring.tail_place, ring.place))
    assert bytes(out) == b"".join(lines)


def test_a_full_ring_is_one_whole_turn() -> None:
    ring = Ring(8, SHARES, slots=16)
    ring.put(b"ab\n", 50)
    ring.release(1)
    assert ring.put(b"1234567\n", 50) == 2
    assert ring.used == ring.size
    assert [bytes(part) for part in ring.between(ring.tail_place, ring.place)] == [b"12345", b"67\n"]
    assert ring.between(ring.place, ring.place) == []
    assert not ring.put(b"\n", 50)


def test_what_is_less_important_finds_the_ring_full_sooner() -> None:
    ring = Ring(1000, SHARES, slots=1024)
    taken = dict.fromkeys(SHARES, 0)
    for level in SHARES:
        while ring.put(b"123456789\n", level):
            taken[level] += 1
    assert taken == {10: 50, 20: 40, 50: 10}


def test_the_number_of_lines_is_bounded_as_their_bytes_are() -> None:
    ring = Ring(1 << 20, SHARES, slots=64)
    while ring.put(b"\n", 50):
        pass
    assert ring.head == 63
    assert held(ring) == [b"\n"] * 63


@given(st.lists(st.integers(2, 40), min_size=1, max_size=150), st.randoms(use_true_random=False))
def test_it_knows_where_lines_end_and_whose_they_are(lengths: list[int], rng: random.Random) -> None:
    ring = Ring(2000, SHARES, slots=64)
    put: dict[int, tuple[int, int]] = {}
    for length in lengths:
        request = rng.getrandbits(24)
        if not (number := ring.put(b"x" * (length - 1) + b"\n", 20, request)):
            ring.release(rng.randint(ring.tail + 1, ring.head))
            continue
        put[number] = ring.place, request
    first = rng.randint(ring.tail + 1, ring.head)
    last = rng.randint(first - 1, ring.head)
    ends, hashes = ring.lines(first, last)
    expected = [put[number] for number in range(first, last + 1)]
    assert list(ends) == [place for place, _ in expected]
    assert hashes == b"".join(request.to_bytes(3, "little") for _, request in expected)
    assert {one.level for one in ring.held()} == {20}


def test_the_next_process_finds_what_was_put(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    with Ring(1000, SHARES, path) as ring:
        ring.own(Owner("k3f9a1", "run", 17))
        for number in range(5):
            ring.put(b"line %d\n" % number, 20)
        ring.release(2)
    with Ring(4000, SHARES, path) as again:
        assert again.owner == Owner("k3f9a1", "run", 17)
        assert again.size == 1000
        assert [(one.number, one.level, one.line) for one in again.held()] == [
            (number + 1, 20, b"line %d\n" % number) for number in (2, 3, 4)
        ]
        again.release(again.head)
        again.renew(4000, again.head)
        again.own(None)
        assert again.size == 4000
        assert again.put(b"more\n", 20) == 6
    with Ring(4000, SHARES, path) as last:
        assert last.owner is None
        assert held(last) == [b"more\n"]


def test_one_process_has_a_ring_at_a_time(tmp_path: Path) -> None:
    with Ring(1000, SHARES, tmp_path / "ring"), pytest.raises(RingInUse):
        Ring(1000, SHARES, tmp_path / "ring")
    Ring(1000, SHARES, tmp_path / "ring").close()


def test_its_blocks_are_reserved_so_that_a_full_disk_cannot_fault_it(tmp_path: Path) -> None:
    with Ring(1 << 20, SHARES, tmp_path / "ring"):
        status = (tmp_path / "ring").stat()
        assert status.st_blocks * 512 >= status.st_size


@pytest.mark.parametrize("content", [b"x", b"x" * 9000, bytes(HEADER_BYTES * 3)])
def test_a_file_that_is_no_ring_is_told_apart(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ring").write_bytes(content)
    with pytest.raises(Damaged):
        Ring(1000, SHARES, tmp_path / "ring")
    assert (tmp_path / "ring").read_bytes() == content


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[bytes]]:
    path = tmp_path_factory.mktemp("ring") / "ring"
    lines = [b'{"n":%d,"text":"%s"}\n' % (number, b"x" * (number % 50)) for number in range(60)]
    with Ring(2000, SHARES, path, slots=64) as ring:
        for line in lines:
            while not ring.put(line, 20):
                ring.release(ring.tail + 5)
        kept = [one.line for one in ring.held() if one.line is not None]
    assert len(kept) > 10
    return path.read_bytes(), kept


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 7)), min_size=1, max_size=8), st.data())
def test_no_flip_and_no_cut_makes_a_wrong_line(
    sound: tuple[bytes, list[bytes]],
    tmp_path_factory: pytest.TempPathFactory,
    flips: list[tuple[int, int]],
    data: st.DataObject,
) -> None:
    content, kept = bytearray(sound[0]), sound[1]
    for place, bit in flips:
        content[place % len(content)] ^= 1 << bit
    path = tmp_path_factory.mktemp("flip") / "ring"
    path.write_bytes(content[: data.draw(st.integers(0, len(content))) if data.draw(st.booleans()) else None])
    try:
        ring = Ring(2000, SHARES, path, slots=64)
    except Damaged:
        return
    with ring:
        whole = [one.line for one in ring.held() if one.line is not None]
    everything = sound[0]
    # A damaged tail may show lines again that were released; whatever is shown was put.
    assert all(line in everything or line in kept for line in whole)


def test_a_flip_is_seen_in_the_line_that_has_it_and_the_others_are_read(
    sound: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    content, kept = bytearray(sound[0]), sound[1]
    content[content.index(kept[3]) + 5] ^= 1
    (tmp_path / "ring").write_bytes(content)
    with Ring(2000, SHARES, tmp_path / "ring") as ring:
        assert held(ring) == [*kept[:3], None, *kept[4:]]
