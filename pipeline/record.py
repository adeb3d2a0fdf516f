"""One line: a record as JSON, whatever it holds, in at most 8,000 bytes.

Encoding never raises. The common case is one call of orjson; only what that refuses is rebuilt piece by piece. Some
shippers split lines over about 8,000 bytes, so what is too large is cut, and the line says which fields were.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

LINE_LIMIT = 8_000
"""The longest line in bytes, newline included."""

# The newline is the terminator; a record's own newlines are escaped by JSON.
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_SUBCLASS
_MAX_DEPTH = 12
_MAX_ITEMS = 1_000
_MAX_NAME = 128

# DEL, the C1 controls, and the separators at which some readers break a line: JSON allows them raw, terminals and
# `str.splitlines` do not take them lightly.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")


def encode(record: Mapping[str, Any]) -> bytes:
    """`record` as one line of UTF-8 JSON with its newline. Never raises.

    Bytes, sets, lone surrogates, huge integers, cycles, deep nesting and objects become something printable;
    not-a-number becomes null. A value that makes the line too long is cut and named in `truncated`.
    """
    line = _line(record)
    if len(line) > LINE_LIMIT:
        line = _shortened(record)
    return line


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        line = orjson.dumps(record, _printable, _OPTIONS)
    except Exception:
        line = orjson.dumps(_printable(record), option=_OPTIONS)
    if line.isascii():
        return line.replace(b"\x7f", b"\\u007f") if b"\x7f" in line else line
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line.decode()).encode()


def _printable(value: Any, depth: int = 0) -> Any:
    """`value` as something orjson takes without question."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # JSON's readers hold integers in 64 bits at best; a longer one is kept to the digit, as text.
        return int(value) if -(2**63) <= value < 2**64 else f"{hex(value)}"[: LINE_LIMIT // 2]
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value[:LINE_LIMIT]).decode("utf-8", "backslashreplace")
    if depth >= _MAX_DEPTH:
        return "[nested too deeply]"
    try:
        if isinstance(value, Mapping):
            items = list(value.items())[:_MAX_ITEMS]
            return {_printable(_name(key)): _printable(item, depth + 1) for key, item in items}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_printable(item, depth + 1) for item in list(value)[:_MAX_ITEMS]]
        return _printable(str(value))
    except Exception as error:
        return f"[{type(value).__name__} that cannot be shown: {type(error).__name__}]"


def _name(key: Any) -> str:
    return key if isinstance(key, str) else str(key)


def _shortened(record: Mapping[str, Any]) -> bytes:
    """The line with its largest values cut until it fits, small ones whole."""
    whole = _printable(record)
    sizes = {name: len(_line({name: value})) - 2 for name, value in whole.items() if len(name) <= _MAX_NAME}
    # Too many fields to name even empty: keep the first, where the fixed ones are.
    kept: list[str] = []
    room = LINE_LIMIT - 600
    for name, size in sizes.items():
        room -= min(size, 80)
        if room < 0:
            break
        kept.append(name)
    dropped = len(record) - len(kept)
    cap = LINE_LIMIT
    while True:
        short: dict[str, Any] = {}
        truncated: list[str] = []
        for name in kept:
            value = whole[name]
            if sizes[name] > cap + len(name) + 4:
                value = _cut(value, cap)
                truncated.append(name)
            short[name] = value
        # The list of names has its own limit; the count of dropped fields stands for the rest.
        short["truncated"] = truncated[:8] + ([f"{dropped} fields"] if dropped else [])
        line = _line(short)
        if len(line) <= LINE_LIMIT or cap == 0:
            return line
        cap = cap * 3 // 4


def _cut(value: Any, limit: int) -> Any:
    """The beginning of `value` that takes at most about `limit` bytes as JSON, of the same type where it can be."""
    if isinstance(value, str):
        # An escape takes up to six bytes a character; halve until it fits rather than guess.
        while value and len(_line({"": value})) - 6 > limit:
            value = value[: min(len(value) - 1, max(limit // 2, len(value) * 3 // 4))]
        return value
    if isinstance(value, list):
        kept: list[Any] = []
        used = 2
        for item in value:
            used += len(_line({"": item})) - 5
            if used > limit:
                break
            kept.append(item)
        return kept
    if isinstance(value, dict):
        fits: dict[str, Any] = {}
        used = 2
        for name, item in value.items():
            used += len(_line({name: item})) - 2
            if used > limit:
                break
            fits[name] = item
        return fits
    return _cut(str(value), limit)
