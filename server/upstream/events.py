"""Server-sent events, read: bytes in whatever pieces they come, out comes the data of each event.

The format is WHATWG's (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end in LF, CR LF or CR, a blank line ends
an event, its `data` lines are joined by LF, comments and other fields are passed over, and what is no UTF-8 is replaced. An event is
bounded, so an upstream that never ends a line cannot fill the memory.
"""

import re
from collections.abc import Iterator

EVENT_BYTES = 256 << 10
"""The longest event that is read: larger than any piece of an answer."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventTooLong(Exception):
    """An event goes on beyond its bound."""


class EventReader:
    """Takes the bytes of one stream, in order."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._searched = 0
        self._data: list[bytes] = []
        self._size = 0
        self._first = True

    def feed(self, received: bytes) -> Iterator[str]:
        """The data of each event that ends within `received`. Raises ``EventTooLong``."""
        self._bytes += received
        for line in self._lines():
            if not line:
                if self._data:
                    yield b"\n".join(self._data).decode(errors="replace")
                self._data, self._size = [], 0
                continue
            name, _, value = line.partition(b":")
            self._size += len(line)
            if self._size > EVENT_BYTES:
                raise EventTooLong
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
        if len(self._bytes) > EVENT_BYTES:
            raise EventTooLong

    def _lines(self) -> Iterator[bytes]:
        start = 0
        try:
            while (end := _LINE_END.search(self._bytes, max(start, self._searched))) is not None:
                if end[0] == b"\r" and end.end() == len(self._bytes):
                    break  # What comes next may be the other half of CR LF.
                line = bytes(self._bytes[start : end.start()])
                start = end.end()
                if self._first:
                    line, self._first = line.removeprefix(_BOM), False
                yield line
        finally:
            del self._bytes[:start]
            # Only the last byte can be the beginning of a line's end.
            self._searched = max(0, len(self._bytes) - 1)
