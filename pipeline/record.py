"""One line: a record as JSON, whatever it holds, in at most 8,000 bytes.

Encoding never raises. The common case is one call of orjson; only what that refuses is rebuilt piece by piece. Some
shippers split lines over about 8,000 bytes, so what is too large is cut, and the line says which fields were.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, time
from typing import Any, NamedTuple, TypeVar

import orjson

LINE_LIMIT = 8_000
"""The longest line in bytes, newline included."""

MARK = b',"recovered":true'
"""What a line that was found in the ring of a dead process says of itself; every line leaves room for it."""

# The newline is the terminator; a record's own newlines are escaped by JSON.
# Dataclasses and times come to us: a field that is not set, or a time zone that fails, would end the process inside orjson.
OPTIONS = (
    orjson.OPT_APPEND_NEWLINE
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)
_MAX_DEPTH = 12
_MAX_NAME = 128  # bytes as they stand in the line, in one that must be shortened

DEL = 0x7F
"""The one control character that JSON lets pass and that is ASCII."""

_PLAIN = re.compile(r"[A-Za-z0-9 ._/-]*", re.ASCII).fullmatch

Item = TypeVar("Item")

# DEL, the C1 controls, and the separators at which some readers break a line: JSON allows them raw, terminals and
# `str.splitlines` do not take them lightly.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")


def encode(record: Mapping[str, Any], limit: int = LINE_LIMIT) -> bytes:
    """`record` as one line of UTF-8 JSON with its newline, at most `limit` bytes. Never raises.

    Bytes, sets, lone surrogates, huge integers, cycles, deep nesting and objects become something printable;
    not-a-number becomes null. A value that makes the line too long is cut and named in `truncated`.
    """
    try:
        line = orjson.dumps(record, printable, OPTIONS)
    except Exception:
        line = orjson.dumps({_text(key): printable(value) for key, value in record.items()}, option=OPTIONS)
    if len(line) <= limit and line.isascii() and DEL not in line:  # nearly every one
        return line
    line = _escaped(line) if len(line) <= limit else line
    return line if len(line) <= limit else _shortened(record, limit)


def text(value: str) -> str:
    """A short text as JSON has it, quotes included: its first 128 characters. Never raises."""
    if type(value) is str and len(value) <= _MAX_NAME and _PLAIN(value):
        return f'"{value}"'
    return _escaped(orjson.dumps(_text(value)[:_MAX_NAME])).decode()


def marked(line: bytes) -> bytes:
    """`line` as one that was recovered."""
    return line[:-2] + MARK + line[-2:]


def _escaped(line: bytes) -> bytes:
    if line.isascii():
        return line.replace(b"\x7f", b"\\u007f") if DEL in line else line
    text = line.decode()
    unsafe = set(_UNSAFE.findall(text))
    for char in unsafe:
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode() if unsafe else line


def printable(value: Any, depth: int = 0, room: list[int] | None = None) -> Any:
    """`value` as something orjson takes without question, as far as a line could hold it. Never raises.

    `room` is how many characters and items may still come: what lies beyond would be cut anyway, and need not be looked at.
    """
    room = [LINE_LIMIT] if room is None else room
    room[0] -= 1
    try:
        return _converted(value, depth, room)
    except Exception as error:
        return _unshowable(value, error)


def _converted(value: Any, depth: int, room: list[int]) -> Any:
    """What `value` is beneath: its type is asked, and its type's base converts, because its own methods may do anything."""
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if issubclass(kind, int):
        number = int.__pos__(value)
        # JSON's readers hold integers in 64 bits at best; a longer one is kept to the digit, as text.
        return number if -(2**63) <= number < 2**64 else printable(hex(number), depth, room)
    if issubclass(kind, float):
        return float.__pos__(value)
    if issubclass(kind, (bytes, bytearray, memoryview)):
        beginning = memoryview(value).cast("B")[:LINE_LIMIT]
        return printable(bytes(beginning).decode("utf-8", "backslashreplace"), depth, room)
    if issubclass(kind, str):
        text = str.__str__(value)[: max(0, room[0])]
        room[0] -= len(text)
        return _encodable(text)
    if depth >= _MAX_DEPTH:
        return "[nested too deeply]"
    if issubclass(kind, Mapping):
        return dict(_named(value, depth, room))
    if issubclass(kind, (list, tuple, set, frozenset)):
        return [printable(item, depth + 1, room) for item in _while(room, value)]
    if issubclass(kind, (date, time)):
        return printable(value.isoformat().replace("+00:00", "Z"), depth, room)
    return printable(str(value), depth, room)


def _named(mapping: Mapping[Any, Any], depth: int, room: list[int]) -> Iterator[tuple[str, Any]]:
    for key, item in _while(room, mapping.items()):
        name = _text(key)
        room[0] -= len(name)
        yield name, printable(item, depth + 1, room)


def _unshowable(value: Any, error: Exception) -> str:
    try:
        return _encodable(
            f"[{type(value).__name__} that cannot be shown: {type(error).__name__}]"[:_MAX_NAME]
        )
    except Exception:
        return "[a value that cannot be shown]"


def _encodable(text: str) -> str:
    """`text` with lone surrogates, which UTF-8 does not have, written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _while(room: list[int], items: Iterable[Item]) -> Iterator[Item]:
    """The first of `items`, for as long as there is room."""
    for item in items:
        if room[0] <= 0:
            return
        yield item


def _text(key: Any) -> str:
    """A name of a field, whatever was used as one. Never raises."""
    try:
        text = key if issubclass(type(key), str) else str(key)
        return _encodable(str.__str__(text)[: _MAX_NAME + 1])
    except Exception as error:
        return _unshowable(key, error)


class _Part(NamedTuple):
    """A field of a line that is too long: its value, and the bytes it takes whole and with nothing left of its value."""

    value: Any
    size: int
    empty: int


def _shortened(record: Mapping[str, Any], limit: int) -> bytes:
    """The line with its largest values cut until it fits, small ones whole, in their order."""
    parts: dict[str, _Part] = {}
    room = limit - _NOTE
    for key, held in record.items():
        name = _text(key)
        empty = _size(name, "")
        if empty > _MAX_NAME + len('"":"",'):
            continue
        value = printable(held)
        part = _Part(value, _size(name, value), empty)
        room -= max(empty, min(part.size, empty + _WORTH))
        # Too many fields to show something of each: the first are kept, where the fixed ones are.
        if room < 0:
            break
        parts[name] = part
    # What is shared out is what the names leave.
    share = _fair_share(
        [max(0, part.size - part.empty) for part in parts.values()],
        limit - _NOTE - sum(part.empty for part in parts.values()),
    )
    short: dict[str, Any] = {}
    truncated: list[str] = []
    for name, part in parts.items():
        whole = part.size <= part.empty + share
        short[name] = part.value if whole else _cut(name, part.value, part.empty + share)
        if not whole:
            truncated.append(name)
    dropped = len(record) - len(parts)
    # The list of names is bounded too; the count of dropped fields stands for the rest.
    short["truncated"] = truncated[:3] + ([f"{dropped} fields"] if dropped else [])
    return _escaped(orjson.dumps(short, option=OPTIONS))


_NOTE = 600
"""Bytes kept free for the field `truncated`: it holds at most three names, of `_MAX_NAME` bytes each, and a count."""
_WORTH = 64
"""A field is only kept with this much of its value, or all of it."""


def _size(name: str, value: Any) -> int:
    """Bytes that the field takes in a line, its comma included."""
    return len(_escaped(orjson.dumps({name: value}, option=OPTIONS))) - 2


def _fair_share(sizes: list[int], room: int) -> int:
    """The largest share that leaves all within `room` when whoever has more is cut to it and whoever has less stays whole."""
    left = len(sizes)
    for size in sorted(sizes):
        if size * left > room:
            return room // left
        room -= size
        left -= 1
    return LINE_LIMIT


def _cut(name: str, value: Any, limit: int) -> Any:
    """The beginning of `value` with which its field takes at most `limit` bytes; of the same type where it has a beginning."""
    if isinstance(value, dict):
        items = list(value.items())
        return dict(items[: _most(limit, len(items), lambda count: _size(name, dict(items[:count])))])
    if not isinstance(value, (str, list)):
        value = str(value)
    return value[: _most(limit, len(value), lambda count: _size(name, value[:count]))]


def _most(limit: int, upper: int, size: Callable[[int], int]) -> int:
    """The largest number up to `upper` whose `size` is within `limit`; each further one takes a byte at least."""
    low, upper = 0, min(upper, limit)
    while low < upper:
        middle = (low + upper + 1) // 2
        if size(middle) <= limit:
            low = middle
        else:
            upper = middle - 1
    return low
