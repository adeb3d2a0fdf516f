"""Server-sent events are read the same whatever pieces they come in, and never without bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.upstream.events import EVENT_BYTES, EventReader, EventTooLong


def read(*pieces: bytes) -> list[str]:
    reader = EventReader()
    return [data for piece in pieces for data in reader.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\ndata: two\n\n", ["one", "two"]),
        (b"data: one\r\n\r\ndata:two\r\n\r\n", ["one", "two"]),
        (b"data: one\r\rdata: two\r\r.", ["one", "two"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b": a comment\n\ndata: one\n\n", ["one"]),
        (b"event: x\nid: 7\nretry: 9\ndata: one\n\n", ["one"]),
        (b"\xef\xbb\xbfdata: one\n\n", ["one"]),
        (b"data: caf\xc3\xa9 \xff\n\n", ["caf\u00e9 \ufffd"]),
        (b"data\n\n", [""]),
        (b"data:  two spaces\n\n", [" two spaces"]),
        (b"data: cut off", []),
        (b"data: cut off\n", []),
        (b"\n\n\n", []),
        (b"<html>nothing of the kind</html>", []),
    ],
)
def test_what_the_standard_says(stream: bytes, events: list[str]) -> None:
    assert read(stream) == events
    assert read(*(bytes([byte]) for byte in stream)) == events


@given(
    st.lists(
        st.sampled_from(
            [b"data: x", b"data:", b":", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\xc3", b"e: y"]
        )
    ),
    st.data(),
)
def test_the_pieces_do_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*pieces) == read(stream)


@pytest.mark.parametrize(
    "filler", [b"data: " + b"x" * 1000, b"data: " + b"x" * 1000 + b"\n", b": " + b"x" * 1000 + b"\n"]
)
def test_an_event_without_end_is_refused(filler: bytes) -> None:
    with pytest.raises(EventTooLong):
        read(*[filler] * (EVENT_BYTES // 1000 + 10))


def test_one_byte_at_a_time_takes_no_longer_than_it_should() -> None:
    assert read(b"data: ", *[b"x"] * 200_000, b"\n\n") == ["x" * 200_000]
