"""One line: a record as JSON, whatever it holds, in at most 8,000 bytes.

Encoding never raises. The common case is one call of orjson; only what that refuses is rebuilt piece by piece. Some
shippers split lines over about 8,000 bytes, so what is too large is cut, and the line says which fields were.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import orjson

LINE_LIMIT = 8_000
"""The longest line in bytes, newline included."""

# The newline is the terminator; a record's own newlines are escaped by JSON.
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_SUBCLASS
_MAX_DEPTH = 12
_MAX_NAME = 128

Item = TypeVar("Item")

# DEL, the C1 controls, and the separators at which some readers break a line: JSON allows them raw, terminals and
# `str.splitlines` do not take them lightly.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")


def encode(record: Mapping[str, Any]) -> bytes:
    """`record` as one line of UTF-8 JSON with its newline. Never raises.

    Bytes, sets, lone surrogates, huge integers, cycles, deep nesting and objects become something printable;
    not-a-number becomes null. A value that makes the line too long is cut and named in `truncated`.
    """
    try:
        line = orjson.dumps(record, _plain, _OPTIONS)
    except Exception:
        line = orjson.dumps({_text(key): _printable(value) for key, value in record.items()}, option=_OPTIONS)
    if len(line) <= LINE_LIMIT:
        line = _escaped(line)
    return line if len(line) <= LINE_LIMIT else _shortened(record)


def _escaped(line: bytes) -> bytes:
    if line.isascii():
        return line.replace(b"\x7f", b"\\u007f") if b"\x7f" in line else line
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line.decode()).encode()


def _plain(value: Any) -> Any:
    """For orjson: what it does not know, as something that it does."""
    return _printable(value)


def _printable(value: Any, depth: int = 0, room: list[int] | None = None) -> Any:
    """`value` as something orjson takes without question, as far as a line could hold it.

    `room` is how many characters and items may still come: what lies beyond would be cut anyway, and need not be looked at.
    """
    room = [2 * LINE_LIMIT] if room is None else room
    room[0] -= 1
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # JSON's readers hold integers in 64 bits at best; a longer one is kept to the digit, as text.
        return int(value) if -(2**63) <= value < 2**64 else _printable(hex(value), depth, room)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _printable(bytes(value[:LINE_LIMIT]).decode("utf-8", "backslashreplace"), depth, room)
    if isinstance(value, str):
        text = str.__str__(value)[: max(0, room[0])]
        room[0] -= len(text)
        return text.encode("utf-8", "backslashreplace").decode()
    if depth >= _MAX_DEPTH:
        return "[nested too deeply]"
    try:
        if isinstance(value, Mapping):
            return {
                _text(key): _printable(item, depth + 1, room) for key, item in _while(room, value.items())
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_printable(item, depth + 1, room) for item in _while(room, value)]
        return _printable(str(value), depth, room)
    except Exception as error:
        return f"[{type(value).__name__} that cannot be shown: {type(error).__name__}]"


def _while(room: list[int], items: Iterable[Item]) -> Iterator[Item]:
    """The first of `items`, for as long as there is room."""
    for item in items:
        if room[0] <= 0:
            return
        yield item


def _text(key: Any) -> str:
    """A name of a field, whatever was used as one."""
    text = str(key) if not isinstance(key, str) else str.__str__(key)
    return text[: _MAX_NAME + 1].encode("utf-8", "backslashreplace").decode()


def _shortened(record: Mapping[str, Any]) -> bytes:
    """The line with its largest values cut until it fits, small ones whole, in their order."""
    fields: dict[str, tuple[Any, int]] = {}
    room = LINE_LIMIT - _NOTE
    for key, held in record.items():
        name = _text(key)
        if len(name) > _MAX_NAME:
            continue
        value = _printable(held)
        size = _size(name, value)
        room -= min(size, _SMALLEST)
        if room < 0:  # Too many fields to name even empty: the first are kept, where the fixed ones are.
            break
        fields[name] = value, size
    cap = _fair_share([size for _, size in fields.values()], LINE_LIMIT - _NOTE)
    short: dict[str, Any] = {}
    truncated: list[str] = []
    for name, (value, size) in fields.items():
        short[name] = value if size <= cap else _cut(name, value, cap)
        if size > cap:
            truncated.append(name)
    dropped = len(record) - len(fields)
    # The list of names is bounded too; the count of dropped fields stands for the rest.
    short["truncated"] = truncated[:3] + ([f"{dropped} fields"] if dropped else [])
    return _escaped(orjson.dumps(short, option=_OPTIONS))


_NOTE = 600
"""Bytes kept free for the field `truncated`."""
_SMALLEST = 160
"""What a field may need even when its value is cut to nothing: its name, quotes, colon, comma."""


def _size(name: str, value: Any) -> int:
    """Bytes that the field takes in a line, its comma included."""
    return len(_escaped(orjson.dumps({name: value}, option=_OPTIONS))) - 2


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
    if isinstance(value, str):
        return value[: _most(len(value), lambda count: _size(name, value[:count]) <= limit)]
    if isinstance(value, list):
        return value[: _most(len(value), lambda count: _size(name, value[:count]) <= limit)]
    if isinstance(value, dict):
        items = list(value.items())
        return dict(items[: _most(len(items), lambda count: _size(name, dict(items[:count])) <= limit)])
    return _cut(name, str(value), limit)


def _most(upper: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `upper` for which `fits`, which holds for no number after one for which it does not."""
    low = 0
    while low < upper:
        middle = (low + upper + 1) // 2
        if fits(middle):
            low = middle
        else:
            upper = middle - 1
    return low
