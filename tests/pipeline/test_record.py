"""One line, whatever the record holds."""

import array
import datetime as dt
import enum
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import record
from pipeline.record import LINE_LIMIT, encode
from tests.cost import least
from tests.shared import naughty_strings


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no")


class Word(str):
    __slots__ = ()


def fails(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no")


def hostile(base: type) -> Any:
    """A subclass of `base` all of whose conversions, comparisons and ways to what it holds fail."""
    names = "__int__ __index__ __float__ __str__ __repr__ __format__ __bytes__ __len__ __iter__ __getitem__ __bool__".split()
    names += "__lt__ __le__ __gt__ __ge__ __pos__ __neg__ __sub__ __contains__ __reversed__".split()
    names += "items keys get encode decode copy".split()
    return type(f"Hostile{base.__name__}", (base,), dict.fromkeys(names, fails))


class NoClass:
    __class__ = property(fails)

    def __str__(self) -> str:
        return "no class"


class Secretive:
    __getattribute__ = fails
    __str__ = fails


def nameless() -> Any:
    """A class that cannot be named; made here because whoever collects tests asks for names."""

    class Nameless(type):
        __name__ = property(fails)

    class NamelessError(Exception, metaclass=Nameless):
        pass

    class Unspeakable(metaclass=Nameless):
        def __str__(self) -> str:
            raise NamelessError

    return Unspeakable


class Liar:
    __class__ = bool  # type: ignore[assignment]


class Integer:
    __class__ = int  # type: ignore[assignment]


class Subtle:
    def __str__(self) -> Any:
        return hostile(str)("subtle")


class Wrong:
    def __str__(self) -> Any:
        return 7  # noqa: PLE0307 - that it is no text is the point


class Endless(Mapping[str, int]):
    __getitem__ = __len__ = fails

    def __iter__(self) -> Iterator[str]:
        return (str(number) for number in itertools.count())

    def items(self) -> Any:
        return ((f"name {number}", number) for number in itertools.count())


class BadZone(dt.tzinfo):
    utcoffset = dst = tzname = fails


@dataclass(slots=True)
class Point:
    x: int


class Members(enum.Enum):
    A = hostile(int)(1)


def released() -> memoryview:
    view = memoryview(b"view")
    view.release()
    return view


def cycle() -> list[Any]:
    ring: list[Any] = []
    ring.append({"again": ring})
    return ring


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE: dict[str, Any] = {
    "bytes": b"\xff\x00abc",
    "a set": {3},
    "a lone surrogate": "\ud800 here",
    "a surrogate as a key": {"\udfff": 1},
    "not a number": math.nan,
    "infinity": math.inf,
    "an integer of 5,000 digits": 10**5000,
    "a negative one": -(10**300),
    "a cycle": cycle(),
    "a deep nest": nested(5000),
    "an object that cannot be shown": Unprintable(),
    "keys that are no strings": {1: "a", (2, 3): "b", None: "c"},
    "a subclass of str": Word("word"),
    "a class": int,
    "a generator": (number for number in range(3)),
    "a view": memoryview(b"view"),
    "a released view": released(),
    "a view of no dimension": memoryview(b"v").cast("B", shape=[]),
    "a view of two": memoryview(b"view").cast("B", shape=[2, 2]),
    "a view with gaps": memoryview(b"view")[::2],
    "a view of doubles": memoryview(array.array("d", [1.5])),
    "a hostile integer": hostile(int)(7),
    "a hostile huge integer": hostile(int)(10**5000),
    "a hostile number": hostile(float)(1.5),
    "a hostile text": hostile(str)("text"),
    "hostile bytes": hostile(bytes)(b"bytes"),
    "hostile changeable bytes": hostile(bytearray)(b"bytes"),
    "a hostile list": hostile(list)([1]),
    "a hostile set": hostile(set)({1}),
    "a hostile mapping": hostile(dict)({"a": 1}),
    "a hostile name": {hostile(str)("a"): 1, Unprintable(): 2, Secretive(): 3},
    "no class": NoClass(),
    "nothing but failures": Secretive(),
    "no name": nameless()(),
    "a class without a name": nameless(),
    "one that says it is a boolean": Liar(),
    "one that says it is an integer": Integer(),
    "a text that is hostile": Subtle(),
    "a text that is none": Wrong(),
    "an endless mapping": Endless(),
    "a time in a bad zone": dt.datetime(2026, 1, 1, tzinfo=BadZone()),
    "a dataclass without its field": object.__new__(Point),
    "a hostile member": Members.A,
}


def read(line: bytes) -> dict[str, Any]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= LINE_LIMIT
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_becomes_something_printable_and_the_rest_stays(name: str) -> None:
    assert read(encode({"event": "e", "value": HOSTILE[name], "after": 1}))["after"] == 1


@pytest.mark.parametrize("size", [1, 10_000])
def test_a_hostile_name_becomes_something_printable_too(size: int) -> None:
    for name in (*HOSTILE["a hostile name"], None, b"b", "\ud800", 10**5000):
        assert read(encode({"event": "e", name: "x" * size, "after": 1}))["after"] == 1


def test_a_hostile_value_is_shown_as_what_it_is_beneath() -> None:
    shown = {name: read(encode({"value": value}))["value"] for name, value in HOSTILE.items()}
    assert (shown["a hostile integer"], shown["a hostile number"]) == (7, 1.5)
    assert (shown["a hostile text"], shown["hostile bytes"], shown["a hostile member"]) == (
        "text",
        "bytes",
        1,
    )
    assert (shown["a view of two"], shown["a view of no dimension"]) == ("view", "v")
    assert (shown["no class"], shown["a text that is hostile"]) == ("no class", "subtle")


def test_times_are_told_as_in_the_rest_of_the_log() -> None:
    noon = dt.datetime(2026, 1, 1, 12, 0, 0, 5000)  # noqa: DTZ001 - one without a zone, too
    paris = dt.timezone(dt.timedelta(hours=1))
    times = [
        noon,
        noon.replace(tzinfo=dt.UTC),
        noon.replace(tzinfo=paris),
        noon.date(),
        noon.time(),
        Point(1),
    ]
    assert read(encode({"times": times}))["times"] == [
        "2026-01-01T12:00:00.005000",
        "2026-01-01T12:00:00.005000Z",
        "2026-01-01T12:00:00.005000+01:00",
        "2026-01-01",
        "12:00:00.005000",
        "Point(x=1)",
    ]


def test_the_hostile_values_are_hostile() -> None:
    refused = 0
    for value in HOSTILE.values():
        try:
            orjson.dumps(value, option=record.OPTIONS)
        except orjson.JSONEncodeError:
            refused += 1
    assert refused >= len(HOSTILE) - 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.frozensets(st.text())
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.text(), json_values))
def test_any_record_becomes_one_line_that_json_reads(record: dict[str, Any]) -> None:
    read(encode(record))


names = st.text(st.characters() | st.sampled_from("\x00é\x9b\u2028"), max_size=200) | st.builds(
    str.__mul__, st.sampled_from(["\x01", "é", "a", '"', "\x9b", "\U0001f600", "\ud800"]), st.integers(0, 300)
)
large = st.builds(
    lambda unit, size: unit * size, st.sampled_from(["a", "\x9b", "\x01", "é", '"']), st.integers(0, 20_000)
)


@given(
    st.lists(st.tuples(names, json_values | large), max_size=40),
    st.sets(st.sampled_from([*HOSTILE])),
    st.integers(1, 30),
)
def test_no_record_of_hostile_names_and_values_makes_a_line_too_long(
    fields: list[tuple[str, Any]], values: set[str], times: int
) -> None:
    record = {f"{name}{number or ''}": value for number in range(times) for name, value in fields}
    record |= {name: HOSTILE[name] for name in values}
    assert "event" in read(encode({"event": "e", **record}))


@pytest.mark.parametrize("unit", ["\x01", "é", "a", '"', "\U0001f600", "\x9b"])
@pytest.mark.parametrize("length", [20, 100, 120, 130])
def test_names_take_room_too(unit: str, length: int) -> None:
    record = {unit * length + str(number): "value" * 20 for number in range(100)}
    event = read(encode({"event": "e", **record}))
    kept = {name: value for name, value in event.items() if name in record}
    assert all(record[name].startswith(value) for name, value in kept.items())
    assert event["truncated"][-1] == f"{len(record) - len(kept)} fields"


@given(st.text())
def test_text_comes_back_as_it_was(text: str) -> None:
    if len(text) < 500:
        assert read(encode({"text": text}))["text"] == text


@given(st.text(alphabet="\x00\x1b\x7f\x80\x9b\u2028\u2029a\nß"))
def test_no_control_character_stands_raw_in_a_line(text: str) -> None:
    line = encode({"text": text}).decode()
    assert [char for char in line[:-1] if not char.isprintable()] == []
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("size", [7_900, 8_000, 8_100, 20_000, 1_000_000])
@pytest.mark.parametrize("unit", ["a", "\x01", "é", "\U0001f600", "\x9b", '"'])
def test_an_oversized_text_is_cut_marked_and_still_text(size: int, unit: str) -> None:
    record = {"timestamp": "t", "event": "e", "small": "kept", "large": unit * size}
    event = read(encode(record))
    assert event["small"] == "kept"
    if event["large"] != record["large"]:
        assert event["truncated"] == ["large"]
        assert record["large"].startswith(event["large"])
        assert len(encode(record)) > LINE_LIMIT // 2


def test_a_list_is_cut_to_its_first_items_and_stays_a_list() -> None:
    event = read(encode({"frames": [{"line": number, "text": "x" * 100} for number in range(500)]}))
    assert event["truncated"] == ["frames"]
    assert event["frames"] == [{"line": number, "text": "x" * 100} for number in range(len(event["frames"]))]


@pytest.mark.parametrize("count", [100, 1_000, 50_000])
def test_fields_beyond_what_a_line_can_name_are_counted(count: int) -> None:
    event = read(encode({"event": "e", **{f"field_{number}": "v" * 50 for number in range(count)}}))
    assert event["event"] == "e"
    kept = sum(name.startswith("field_") for name in event)
    if kept < count:
        assert event["truncated"][-1] == f"{count - kept} fields"


def test_a_field_whose_name_alone_is_too_long_is_left_out() -> None:
    assert read(encode({"event": "e", "n" * 9_000: 1})) == {"event": "e", "truncated": ["1 fields"]}


@pytest.mark.parametrize("unit", ["\x9b", "a", "\ud800", '"'])
def test_a_huge_value_costs_no_more_than_a_large_one(unit: str) -> None:
    def cost(value: object) -> float:
        return least(lambda: encode({"event": "e", "value": value}))

    # What cannot fit is not worked on: a hundred times the text may cost what it takes to look at it, not to escape it.
    assert cost(unit * 3_000_000) < 30 * max(cost(unit * 30_000), 0.001)
    assert cost([unit * 30_000] * 100) < 30 * max(cost([unit * 30_000]), 0.001)


@pytest.mark.parametrize("unit", ["\x9b", "a", "\ud800"])
@pytest.mark.parametrize("name", ["n", "\x9b" * 10, "n" * 500])
def test_many_huge_values_cost_no_more_than_some(unit: str, name: str) -> None:
    def cost(count: int) -> float:
        record = {f"{number} {name}": unit * 30_000 for number in range(count)}
        return least(lambda: encode(record))

    # Sixteen times the fields may cost sixteen times, for the first, whole look at them; not more.
    assert cost(1_600) < 48 * max(cost(100), 0.002)


def test_every_naughty_string_comes_back_as_it_was() -> None:
    for text in naughty_strings():
        assert read(encode({"text": text, f"name {text}": 1}))["text"] == text
