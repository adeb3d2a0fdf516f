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
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.checksum import crc32

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
    "llm_calls": "counter",
    "llm_failures": "counter",
    "llm_retries": "counter",
    "llm_tokens": "counter",
    "llm_degraded": "counter",
    "llm_cache_hits": "counter",
    "llm_cache_misses": "counter",
    "llm_open": "sum",
    "embedding_calls": "counter",
    "embedding_failures": "counter",
    "embedding_cache_hits": "counter",
    "embedding_cache_misses": "counter",
    "embedding_open": "sum",
}
"""What a worker tells of itself, and what several come to. Counters go on over restarts, and those of dead workers count too;
of the living, gauges are added, or the worst one holds; some are nobody's but its own."""

# Where everything stands, for who reads here and who writes in `own_file`.
MAGIC = b"ckfig\0\0\1"
CHECKSUM_LAYOUT = struct.Struct("=I")
HEAD_LAYOUT = struct.Struct("=IQQ")
LAST_LAYOUT = struct.Struct(f"={2 * LAST}d")
ROW_LAYOUT = struct.Struct(f"={WIDTH}d")
SLICE_LAYOUT = struct.Struct("=QQQ")
NAME_BYTES = 128
ROWS_AT = CHECKSUM_LAYOUT.size + HEAD_LAYOUT.size + LAST_LAYOUT.size
PAGE_BYTES = ROWS_AT + ROUTES * ROW_LAYOUT.size
SELECTOR, SECOND, SLICE_COUNT = 2, 3, 4  # words of the header
BOOT_AT, BOOT_BYTES = 64, 64
PUBLISHED_AT = 512
NAMES_AT = 1_024
PAGES_AT = NAMES_AT + ROUTES * NAME_BYTES
SLICES_AT = PAGES_AT + 2 * PAGE_BYTES
SUMS_AT = SLICES_AT + SLICES * SLICE_LAYOUT.size
CELLS_AT = SUMS_AT + WINDOWS * (ROUTES + 1) * COLUMNS * 4
SIZE = CELLS_AT + CELLS * 4


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
        if self._read(0, 16) != MAGIC + struct.pack("=Q", SIZE):
            return None
        for _ in range(8):  # Its owner may commit twice while we read.
            selector = self._word(SELECTOR)
            page = self._page(selector % 2)
            if page is not None and page.sequence == selector:
                return page
        whole = [page for page in (self._page(0), self._page(1)) if page is not None]
        return max(whole, key=lambda page: page.sequence, default=None)

    def second(self, boot: str) -> float:
        """When its owner last said that it lives, in seconds of the clock that began with `boot`; before all time if on another."""
        same = self._read(BOOT_AT, BOOT_BYTES) == slot(boot, BOOT_BYTES)
        return self._word(SECOND) if same else -math.inf

    def slices(self) -> list[Slice]:
        """The last slices, oldest first, as far back as they hang together."""
        count = self._word(SLICE_COUNT)
        found: list[Slice] = []
        for number in range(count - 1, max(-1, count - 1 - SLICES), -1):
            place = SLICES_AT + number % SLICES * SLICE_LAYOUT.size
            slice_ = Slice(*SLICE_LAYOUT.unpack(self._read(place, SLICE_LAYOUT.size)))
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
            "I", b"".join(self._read(CELLS_AT + 4 * start, 4 * (stop - start)) for start, stop in spans)
        )

    def sums(self, window: int, row: int) -> bytes:
        """How many responses each column of a row counts within a window, as u32."""
        return self._read(sums_at(window, row), COLUMNS * 4)

    def published(self) -> dict[str, float]:
        """What its owner tells of itself."""
        values = array("d", self._read(PUBLISHED_AT, 8 * len(PUBLISHED)))
        return {
            name: value if abs(value) < 2**53 else 0.0 for name, value in zip(PUBLISHED, values, strict=True)
        }

    def _word(self, number: int) -> int:
        return int(struct.unpack("=Q", self._read(8 * number, 8))[0])

    def _page(self, number: int) -> Page | None:
        page = self._read(PAGES_AT + number * PAGE_BYTES, PAGE_BYTES)
        (checksum,), (rows, sequence, counted) = (
            CHECKSUM_LAYOUT.unpack_from(page),
            HEAD_LAYOUT.unpack_from(page, 4),
        )
        if rows > ROUTES:
            return None
        slots = self._read(NAMES_AT, rows * NAME_BYTES)
        length = ROWS_AT + rows * ROW_LAYOUT.size
        if crc32(page[4:length], crc32(slots)) != checksum:
            return None
        last = LAST_LAYOUT.unpack_from(page, 4 + HEAD_LAYOUT.size)
        known = [pair for pair in zip(last[:LAST], last[LAST:], strict=True) if pair[0] >= 0]
        totals = {}
        for row in range(rows):
            name = slots[row * NAME_BYTES : (row + 1) * NAME_BYTES].rstrip(b"\0").decode(errors="replace")
            totals[name] = list(ROW_LAYOUT.unpack_from(page, ROWS_AT + row * ROW_LAYOUT.size))
        return Page(sequence, counted, totals, known)


def sums_at(window: int, row: int) -> int:
    """Where the sums of one row in one window stand."""
    return SUMS_AT + (window * (ROUTES + 1) + row) * COLUMNS * 4


def told(name: str) -> str:
    """A name as the file has it: perhaps shorter."""
    return slot(name, NAME_BYTES).rstrip(b"\0").decode()


def slot(text: str, size: int) -> bytes:
    """`text` in exactly `size` bytes, cut where a character ends, with a zero behind it."""
    plain = text.encode("utf-8", "replace").replace(b"\0", b"?")[: size - 1]
    return plain.decode("utf-8", "ignore").encode().ljust(size, b"\0")


@contextlib.contextmanager
def others(path: Path | None) -> Iterator[list[Reading]]:
    """What the files of other workers beside the one at `path` say, while the context lasts."""
    with contextlib.ExitStack() as stack:
        readings = []
        for sibling in () if path is None else _siblings(path):
            with contextlib.suppress(OSError):
                file = stack.enter_context(open(sibling, "rb", buffering=0))
                readings.append(Reading(_in_file(file.fileno())))
        yield readings


def _siblings(path: Path) -> list[str]:
    # One plain look into the folder: a `glob` costs more than all that is asked of the files.
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
        return [
            f"{path.parent}/{name}" for name in sorted(names) if name.endswith(SUFFIX) and name != path.name
        ]
    return []


def in_memory(memory: mmap.mmap) -> Callable[[int, int], bytes]:
    """How a `Reading` reads one's own file."""
    return lambda offset, length: memory[offset : offset + length]


def _in_file(descriptor: int) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        try:
            return os.pread(descriptor, length, offset).ljust(length, b"\0")
        except OSError:  # The device has gone: the file says nothing.
            return bytes(length)

    return read
