"""The ring gives back what was put in, in order, over any number of turns."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ring import Ring


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=200), st.integers(40, 97), st.randoms())
def test_what_comes_out_is_what_went_in(lines: list[bytes], size: int, random: object) -> None:
    ring = Ring(size)
    out = bytearray()
    for line in lines:
        if ring.used + len(line) > ring.size:
            out += b"".join(ring.between(ring.tail, ring.head))
            ring.release(ring.head)
        ring.put(line)
        if random.random() < 0.3:  # type: ignore[attr-defined]
            middle = ring.tail + random.randint(0, ring.used)  # type: ignore[attr-defined]
            out += b"".join(ring.between(ring.tail, middle))
            ring.release(middle)
    out += b"".join(ring.between(ring.tail, ring.head))
    assert bytes(out) == b"".join(lines)


def test_a_full_ring_is_one_whole_turn() -> None:
    ring = Ring(8)
    ring.put(b"abc")
    ring.release(3)
    ring.put(b"12345678")
    assert ring.used == ring.size
    assert [bytes(part) for part in ring.between(ring.tail, ring.head)] == [b"12345", b"678"]
    assert ring.between(ring.head, ring.head) == []
