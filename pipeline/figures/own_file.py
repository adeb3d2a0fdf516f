"""The figures file of one's own: made, begun anew when it is damaged, and written; its format stands in `file`."""

import mmap
import os
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.checksum import crc32

from .file import (
    BOOT_AT,
    BOOT_BYTES,
    CELLS,
    CELLS_AT,
    CHECKSUM_LAYOUT,
    COLUMNS,
    HEAD_LAYOUT,
    LAST,
    LAST_LAYOUT,
    MAGIC,
    NAME_BYTES,
    NAMES_AT,
    PAGE_BYTES,
    PAGES_AT,
    PUBLISHED,
    PUBLISHED_AT,
    ROW_LAYOUT,
    SECOND,
    SELECTOR,
    SIZE,
    SLICE_COUNT,
    SLICE_LAYOUT,
    SLICES,
    SLICES_AT,
    SUMS_AT,
    Page,
    Reading,
    Slice,
    in_memory,
    slot,
    sums_at,
)


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
            self.failure = error.with_traceback(
                None
            )  # which would hold on to this frame, and so to the mapping
            memory = _private()
        super().__init__(in_memory(memory))
        self._memory = memory
        whole = memoryview(self._memory)
        self._words = whole[:PUBLISHED_AT].cast("Q")
        self._published = whole[PUBLISHED_AT:NAMES_AT].cast("d")
        self.window_sums = whole[SUMS_AT:CELLS_AT].cast("I")
        self._cells = whole[CELLS_AT:].cast("I")
        self.same_boot = self.second(boot) >= 0
        self._memory[BOOT_AT : BOOT_AT + BOOT_BYTES] = slot(boot, BOOT_BYTES)
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
        if memory is not None and Reading(in_memory(memory)).page():
            return memory
        self.damaged = path.with_name(f"{path.name}.damaged")
        path.replace(self.damaged)
        _make(path)
        memory = _mapped(path)
        assert memory is not None  # We just made it.
        return memory

    def name(self, name: str) -> None:
        """Give the next row to a route."""
        content = slot(name, NAME_BYTES)
        place = NAMES_AT + self._rows * NAME_BYTES
        self._memory[place : place + NAME_BYTES] = content
        self._names_checksum = crc32(content, self._names_checksum)
        self._rows += 1

    def commit(self, counted: int, totals: Iterable[list[float]], last: list[float]) -> None:
        """Make this the page: the totals of every row, in order, and the last responses: first all times, then how long."""
        sequence = self._sequence + 1
        rows = [ROW_LAYOUT.pack(*row) for row in totals]
        body = b"".join([HEAD_LAYOUT.pack(self._rows, sequence, counted), LAST_LAYOUT.pack(*last), *rows])
        page = CHECKSUM_LAYOUT.pack(crc32(body, self._names_checksum)) + body
        place = PAGES_AT + self._place(sequence) * PAGE_BYTES
        self._memory[place : place + len(page)] = page
        self._words[SELECTOR] = sequence  # From here on it holds.
        self._sequence = sequence

    def live(self, second: int) -> None:
        """Say that this worker lives, in seconds of the clock."""
        self._words[SECOND] = second

    def publish(self, values: Mapping[str, float]) -> None:
        """Tell values of `PUBLISHED`. A counter begins at 0 with its process; here it goes on from where the last one was."""
        for place, (name, kind) in enumerate(PUBLISHED.items()):
            if name in values:
                before = self._counters[name] if kind == "counter" else 0.0
                self._published[place] = before + values[name]

    def append(self, second: int, first: int, cells: Sequence[int]) -> Slice:
        """Keep a slice that ended with `second`, whose first cell has the number `first`."""
        start, end = first % CELLS, first + len(cells)
        fits = min(len(cells), CELLS - start)
        self._cells[start : start + fits] = array("I", cells[:fits])
        self._cells[: len(cells) - fits] = array("I", cells[fits:])
        place = SLICES_AT + self._words[SLICE_COUNT] % SLICES * SLICE_LAYOUT.size
        self._memory[place : place + SLICE_LAYOUT.size] = SLICE_LAYOUT.pack(second, first, end)
        self._words[SLICE_COUNT] += 1
        return Slice(second, first, end)

    def set_sums(self, window: int, row: int, counts: "memoryview[int]") -> None:
        """What `sums` will say."""
        place = sums_at(window, row)
        self._memory[place : place + COLUMNS * 4] = counts.cast("B")

    def forget_slices(self) -> None:
        """Begin with no slices and empty sums."""
        self._words[SLICE_COUNT] = 0
        self.empty_sums()

    def empty_sums(self) -> None:
        """Nothing is in any window."""
        self._memory[SUMS_AT:CELLS_AT] = bytes(CELLS_AT - SUMS_AT)

    def close(self) -> None:
        """Give the memory back; what was written stays in the file."""
        for view in (self._words, self._published, self.window_sums, self._cells):
            view.release()
        self._memory.close()

    @staticmethod
    def _place(sequence: int) -> int:
        """Which of the two pages the `sequence`-th commit writes: never the one that holds."""
        return sequence % 2


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


_NOTHING = HEAD_LAYOUT.pack(0, 1, 0) + LAST_LAYOUT.pack(*[-1.0] * (2 * LAST))
_BLANK = {
    0: MAGIC + struct.pack("=QQ", SIZE, 1),
    PAGES_AT + PAGE_BYTES: CHECKSUM_LAYOUT.pack(crc32(_NOTHING)) + _NOTHING,
}
"""A file in which nothing is counted: what stands at which place."""
