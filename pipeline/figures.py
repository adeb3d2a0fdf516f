"""The figures file: what one worker has counted, in mapped memory that survives it and that every worker can read.

One process writes a file; a lock elsewhere sees to that. All its space is taken when it is made, so that a full disk
cannot fault the mapping. Numbers are the machine's own, words are 8 bytes and aligned.

    header      magic and version | size | selector | second | slices | the boot of the machine
    published   one double for each name of `PUBLISHED`
    names       101 slots of 128 bytes: a route's name, padded with zeros; written before anything is counted under it
    pages       two: checksum, rows, sequence, counted | when the last responses were counted | how long they took |
                for each row a count for each of `BOUNDS_SECONDS` and for more, errors, limited, milliseconds in all
    slices      the last 1,024: second, first cell, the cell after the last
    sums        for each window, row and column, u32: what the slices in a window come to; made anew from them at each start
    cells       1,048,576, u32: count << 17 | row * COLUMNS + column

**Pages** hold the totals. A commit writes the page that is not selected, then stores the selector, which is the page's
sequence, as one aligned word: whoever is killed at any moment leaves the page before or the page after. The checksum covers
the page and its names. By it a reader sees that the page was written again under its eyes, and looks once more; and a page
that a power cut tore is found out, so that the other one holds.

**Slices** are what the windows know. They are less strict: a killed process takes along what it had not closed, as a rule a
second. They mean nothing after the machine has started again, because its clock has.
"""

import contextlib
import math
import mmap
import os
import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Totals count responses by these: Prometheus' own default bounds, so that its usual dashboards fit."""
ERRORS, LIMITED, SUM_MS = (len(BOUNDS_SECONDS) + place for place in (1, 2, 3))
WIDTH = SUM_MS + 1
"""How many numbers the totals of one row are; doubles, which count exactly up to 2**53."""

LAST = 100
"""How many responses are kept singly."""
ROUTES = 101
EVERYTHING = ROUTES
"""The row of the sums that is about all routes."""
WINDOWS = 3
COLUMNS = 1_064
ROW_BITS = 17
CELLS = 1 << 20
SLICES = 1_024

PREFIX, SUFFIX = "worker-", ".windows"
"""What the files of all workers are called: `worker-1.windows`."""

PUBLISHED = {
    "pid": "own",
    "started": "own",
    "events_written": "counter",
    "events_dropped": "counter",
    "events_lost": "counter",
    "queue_depth": "sum",
    "ring_used_bytes": "sum",
    "ring_bytes": "sum",
    "inflight": "sum",
    "queue_oldest_ms": "worst",
    "failing_ms": "worst",
    "loop_lag_ms": "worst",
}
"""What a worker tells of itself, and what several come to. Counters go on over restarts, and those of dead workers count too;
of the living, gauges are added, or the worst one holds; some are nobody's but its own."""

_MAGIC = b"ckfig\0\0\1"
_CHECKSUM = struct.Struct("=I")
_HEAD = struct.Struct("=IQQ")
_LAST = struct.Struct(f"={2 * LAST}d")
_ROW = struct.Struct(f"={WIDTH}d")
_SLICE = struct.Struct("=QQQ")
_NAME_BYTES = 128
_ROWS_AT = _CHECKSUM.size + _HEAD.size + _LAST.size
_PAGE_BYTES = _ROWS_AT + ROUTES * _ROW.size
_SELECTOR, _SECOND, _SLICES = 2, 3, 4  # words of the header
_BOOT_AT, _BOOT_BYTES = 64, 64
_PUBLISHED_AT = 512
_NAMES_AT = 1_024
_PAGES_AT = _NAMES_AT + ROUTES * _NAME_BYTES
_SLICES_AT = _PAGES_AT + 2 * _PAGE_BYTES
_SUMS_AT = _SLICES_AT + SLICES * _SLICE.size
_CELLS_AT = _SUMS_AT + WINDOWS * (ROUTES + 1) * COLUMNS * 4
SIZE = _CELLS_AT + CELLS * 4


class Slice(NamedTuple):
    """A stretch of time, known by its last second, and the numbers of its cells, which only ever grow."""

    second: int
    first: int
    end: int


class Page(NamedTuple):
    """Everything that was counted, up to the event that has the number `counted` in the worker's ring."""

    sequence: int = 0
    counted: int = 0
    totals: Mapping[str, list[float]] = {}
    last: Sequence[tuple[float, float]] = ()
    """When (seconds of the clock) and how long (ms), oldest first."""


class Reading:
    """What a figures file says. `read(offset, length)` gives its bytes: from memory one's own, from the file another's.

    Another worker's file is not mapped, so that one which is cut short cannot fault its reader. Nothing here raises,
    whatever the bytes are.
    """

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read

    def page(self) -> Page | None:
        """The selected page, or the newest that is whole. None when there is none: then this is no figures file."""
        if self._read(0, 16) != _MAGIC + struct.pack("=Q", SIZE):
            return None
        for _ in range(8):  # Its owner may commit twice while we read.
            selector = self._word(_SELECTOR)
            page = self._page(selector % 2)
            if page is not None and page.sequence == selector:
                return page
        whole = [page for page in (self._page(0), self._page(1)) if page is not None]
        return max(whole, key=lambda page: page.sequence, default=None)

    def second(self, boot: str) -> float:
        """When its owner last said that it lives, in seconds of the clock that began with `boot`; before all time if on another."""
        same = self._read(_BOOT_AT, _BOOT_BYTES) == _slot(boot, _BOOT_BYTES)
        return self._word(_SECOND) if same else -math.inf

    def slices(self) -> list[Slice]:
        """The last slices, oldest first, as far back as they hang together."""
        count = self._word(_SLICES)
        found: list[Slice] = []
        for number in range(count - 1, max(-1, count - 1 - SLICES), -1):
            place = _SLICES_AT + number % SLICES * _SLICE.size
            slice_ = Slice(*_SLICE.unpack(self._read(place, _SLICE.size)))
            newest, after = (found[0], found[-1]) if found else (slice_, Slice(slice_.second, slice_.end, 0))
            if slice_.second > after.second or slice_.end != after.first:
                break
            if not newest.end - CELLS <= slice_.first <= slice_.end:
                break
            found.append(slice_)
        return found[::-1]

    def cells(self, slice_: Slice) -> "array[int]":
        """The cells of a slice."""
        first, end = slice_.first % CELLS, slice_.end % CELLS
        spans = [(first, end)] if slice_.first == slice_.end or first < end else [(first, CELLS), (0, end)]
        return array(
            "I", b"".join(self._read(_CELLS_AT + 4 * start, 4 * (stop - start)) for start, stop in spans)
        )

    def sums(self, window: int, row: int) -> bytes:
        """How many responses each column of a row counts within a window, as u32."""
        return self._read(_sums_at(window, row), COLUMNS * 4)

    def published(self) -> dict[str, float]:
        """What its owner tells of itself."""
        values = array("d", self._read(_PUBLISHED_AT, 8 * len(PUBLISHED)))
        return {
            name: value if abs(value) < 2**53 else 0.0 for name, value in zip(PUBLISHED, values, strict=True)
        }

    def _word(self, number: int) -> int:
        return int(struct.unpack("=Q", self._read(8 * number, 8))[0])

    def _page(self, number: int) -> Page | None:
        page = self._read(_PAGES_AT + number * _PAGE_BYTES, _PAGE_BYTES)
        (checksum,), (rows, sequence, counted) = _CHECKSUM.unpack_from(page), _HEAD.unpack_from(page, 4)
        if rows > ROUTES:
            return None
        slots = self._read(_NAMES_AT, rows * _NAME_BYTES)
        length = _ROWS_AT + rows * _ROW.size
        if zlib.crc32(page[4:length], zlib.crc32(slots)) != checksum:
            return None
        last = _LAST.unpack_from(page, 4 + _HEAD.size)
        known = [pair for pair in zip(last[:LAST], last[LAST:], strict=True) if pair[0] >= 0]
        totals = {}
        for row in range(rows):
            name = slots[row * _NAME_BYTES : (row + 1) * _NAME_BYTES].rstrip(b"\0").decode(errors="replace")
            totals[name] = list(_ROW.unpack_from(page, _ROWS_AT + row * _ROW.size))
        return Page(sequence, counted, totals, known)


class FiguresFile(Reading):
    """One worker's figures, for it alone to write; in private memory when there is no `path`, or no room at it.

    What is at `path` and cannot be read is set aside, under the name that `damaged` tells, and begun anew. `failure` says
    why a file that was asked for could not be had. `begun` is the page that was found, and `same_boot` whether the slices
    that were found are still of this clock.
    """

    def __init__(self, path: Path | None, boot: str) -> None:
        self.damaged: Path | None = None
        self.failure: OSError | None = None
        try:
            memory = _private() if path is None else self._at(path)
        except OSError as error:
            self.failure = error
            memory = _private()
        super().__init__(_reading_memory(memory))
        self._memory = memory
        whole = memoryview(self._memory)
        self._words = whole[:_PUBLISHED_AT].cast("Q")
        self._published = whole[_PUBLISHED_AT:_NAMES_AT].cast("d")
        self.window_sums = whole[_SUMS_AT:_CELLS_AT].cast("I")
        self._cells = whole[_CELLS_AT:].cast("I")
        self.same_boot = self.second(boot) >= 0
        self._memory[_BOOT_AT : _BOOT_AT + _BOOT_BYTES] = _slot(boot, _BOOT_BYTES)
        self.begun = self.page() or Page()
        self._sequence = self.begun.sequence
        self._rows, self._names_checksum = 0, 0
        for name in self.begun.totals:
            self.name(name)
        self._counters = self.published()

    def _at(self, path: Path) -> mmap.mmap:
        if not path.exists():
            _make(path)
        memory = _mapped(path)
        if memory is not None and Reading(_reading_memory(memory)).page():
            return memory
        self.damaged = path.with_name(f"{path.name}.damaged")
        path.replace(self.damaged)
        _make(path)
        memory = _mapped(path)
        assert memory is not None  # We just made it.
        return memory

    def name(self, name: str) -> None:
        """Give the next row to a route."""
        slot = _slot(name, _NAME_BYTES)
        place = _NAMES_AT + self._rows * _NAME_BYTES
        self._memory[place : place + _NAME_BYTES] = slot
        self._names_checksum = zlib.crc32(slot, self._names_checksum)
        self._rows += 1

    def commit(self, counted: int, totals: Iterable[list[float]], last: list[float]) -> None:
        """Make this the page: the totals of every row, in order, and the last responses: first all times, then how long."""
        sequence = self._sequence + 1
        rows = [_ROW.pack(*row) for row in totals]
        body = b"".join([_HEAD.pack(self._rows, sequence, counted), _LAST.pack(*last), *rows])
        page = _CHECKSUM.pack(zlib.crc32(body, self._names_checksum)) + body
        place = _PAGES_AT + self._place(sequence) * _PAGE_BYTES
        self._memory[place : place + len(page)] = page
        self._words[_SELECTOR] = sequence  # From here on it holds.
        self._sequence = sequence

    def live(self, second: int) -> None:
        """Say that this worker lives, in seconds of the clock."""
        self._words[_SECOND] = second

    def publish(self, values: Mapping[str, float]) -> None:
        """Tell values of `PUBLISHED`. A counter begins at 0 with its process; here it goes on from where the last one was."""
        for place, (name, kind) in enumerate(PUBLISHED.items()):
            if name in values:
                before = self._counters[name] if kind == "counter" else 0.0
                self._published[place] = before + values[name]

    def append(self, second: int, first: int, cells: "array[int]") -> Slice:
        """Keep a slice that ended with `second`, whose first cell has the number `first`."""
        start, end = first % CELLS, first + len(cells)
        fits = min(len(cells), CELLS - start)
        self._cells[start : start + fits] = cells[:fits]
        self._cells[: len(cells) - fits] = cells[fits:]
        place = _SLICES_AT + self._words[_SLICES] % SLICES * _SLICE.size
        self._memory[place : place + _SLICE.size] = _SLICE.pack(second, first, end)
        self._words[_SLICES] += 1
        return Slice(second, first, end)

    def set_sums(self, window: int, row: int, counts: "memoryview[int]") -> None:
        """What `sums` will say."""
        place = _sums_at(window, row)
        self._memory[place : place + COLUMNS * 4] = counts.cast("B")

    def forget_slices(self) -> None:
        """Begin with no slices and empty sums."""
        self._words[_SLICES] = 0
        self.empty_sums()

    def empty_sums(self) -> None:
        """Nothing is in any window."""
        self._memory[_SUMS_AT:_CELLS_AT] = bytes(_CELLS_AT - _SUMS_AT)

    def close(self) -> None:
        """Give the memory back; what was written stays in the file."""
        for view in (self._words, self._published, self.window_sums, self._cells):
            view.release()
        self._memory.close()

    @staticmethod
    def _place(sequence: int) -> int:
        """Which of the two pages the `sequence`-th commit writes: never the one that holds."""
        return sequence % 2


def _sums_at(window: int, row: int) -> int:
    return _SUMS_AT + (window * (ROUTES + 1) + row) * COLUMNS * 4


def told(name: str) -> str:
    """A name as the file has it: perhaps shorter."""
    return _slot(name, _NAME_BYTES).rstrip(b"\0").decode()


def _slot(text: str, size: int) -> bytes:
    """`text` in exactly `size` bytes, cut where a character ends, with a zero behind it."""
    plain = text.encode("utf-8", "replace").replace(b"\0", b"?")[: size - 1]
    return plain.decode("utf-8", "ignore").encode().ljust(size, b"\0")


def _mapped(path: Path) -> mmap.mmap | None:
    """The file in memory; None when it has not the size."""
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), SIZE) if os.fstat(file.fileno()).st_size == SIZE else None


def _make(path: Path) -> None:
    """A figures file in which nothing is counted. It gets its name when it is whole."""
    new = path.with_name(f"{path.name}.new")
    try:
        with open(new, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, SIZE)
            for place, content in _BLANK.items():
                os.pwrite(file.fileno(), content, place)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    new.replace(path)


def _private() -> mmap.mmap:
    memory = mmap.mmap(-1, SIZE)
    for place, content in _BLANK.items():
        memory[place : place + len(content)] = content
    return memory


_NOTHING = _HEAD.pack(0, 1, 0) + _LAST.pack(*[-1.0] * (2 * LAST))
_BLANK = {
    0: _MAGIC + struct.pack("=QQ", SIZE, 1),
    _PAGES_AT + _PAGE_BYTES: _CHECKSUM.pack(zlib.crc32(_NOTHING)) + _NOTHING,
}
"""A file in which nothing is counted: what stands at which place."""


@contextlib.contextmanager
def others(path: Path | None) -> Iterator[list[Reading]]:
    """What the files of other workers beside the one at `path` say, while the context lasts."""
    with contextlib.ExitStack() as stack:
        readings = []
        for sibling in () if path is None else _siblings(path):
            with contextlib.suppress(OSError):
                file = stack.enter_context(open(sibling, "rb", buffering=0))
                readings.append(Reading(_reading_file(file.fileno())))
        yield readings


def _siblings(path: Path) -> list[str]:
    # One plain look into the folder: a `glob` costs more than all that is asked of the files.
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
        return [
            f"{path.parent}/{name}" for name in sorted(names) if name.endswith(SUFFIX) and name != path.name
        ]
    return []


def _reading_memory(memory: mmap.mmap) -> Callable[[int, int], bytes]:
    return lambda offset, length: memory[offset : offset + length]


def _reading_file(descriptor: int) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        try:
            return os.pread(descriptor, length, offset).ljust(length, b"\0")
        except OSError:  # The device has gone: the file says nothing.
            return bytes(length)

    return read
