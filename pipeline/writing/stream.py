"""A stream of segments: one file after the other, each begun with a line by which shippers know it.

Every method that touches the disk does so in the executor it is given, so that a disk that hangs holds up one thread and no request.
"""

import asyncio
import contextlib
import os
import time
from array import array
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import aiofiles

from pipeline import index
from pipeline.catalogue import Event, Field, declare
from pipeline.checksum import HASH_BYTES
from pipeline.log import Log
from pipeline.segments import FIRST_LINE_BYTES, create, has_room, index_of, segment_name

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncFileIO

declare(
    [
        Event(
            "segment_opened",
            "INFO",
            "The first line of every segment: which process start wrote it, and what came before.",
            {
                "segment": Field("the number of the segment within its start, from 1"),
                "previous": Field("the name of the segment before it in the same start, or null"),
                "pid": Field("the process"),
                "python": Field("the interpreter's version"),
                "format": Field("how to read what follows"),
                "padding": Field(
                    "spaces that bring the line to 1,024 bytes, by which shippers know the file"
                ),
            },
            always=True,
        )
    ]
)

R = TypeVar("R")


class Rotation(NamedTuple):
    """When a segment ends: at `max_bytes`, or when it is `max_seconds` old."""

    max_bytes: int
    max_seconds: float


class SegmentGone(Exception):
    """The file being written is no longer in its folder."""


class Segments:
    """What one process start writes to `folder`: its present segment, and the next when that is due.

    `executor` does all that is waited for; `spare` keeps the indexes, which nobody waits for.
    """

    def __init__(
        self, log: Log, folder: Path, rotation: Rotation, executor: Executor, spare: Executor
    ) -> None:
        self._log = log
        self._folder = folder
        self._rotation = rotation
        self._executor = executor
        self._spare = spare
        self._file: AsyncFileIO | None = None
        self._path = folder
        self._opening: bytes | None = None
        self._opened = 0.0
        self._index: index.Growing | None = None
        self._entry: int | None = None  # the folder, open until the present segment's entry in it is flushed
        self.count = 0
        self.bytes = 0
        self.answered = 0
        """How many calls to the disk have come back, however they ended."""

    @property
    def is_open(self) -> bool:
        """Whether there is a present segment."""
        return self._file is not None

    @property
    def name(self) -> str | None:
        """The name of the present segment, or of the one before while there is none."""
        return self._path.name if self.count else None

    @property
    def is_due(self) -> bool:
        """Whether the present segment has had its bytes or its time."""
        age = time.monotonic() - self._opened
        return self.bytes >= self._rotation.max_bytes or age >= self._rotation.max_seconds

    async def has_room(self) -> bool:
        """Whether the folder may have one more segment."""
        return await self.run(has_room, self._folder)

    async def begin(self, first_line: Callable[[int, str | None], bytes]) -> None:
        """Begin the next segment and close the present one, which stays in use when that fails. Raises ``OSError``.

        `first_line` makes the line of a segment by its number and the name of the one before.
        """
        path = self._folder / segment_name(time.time(), self._log.boot, self.count + 1)
        # All that its flush will need is opened first: a segment that could not be flushed for want of a file is none.
        entry = await self.run(os.open, self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            file = await aiofiles.open(path, "xb", buffering=0, opener=create, executor=self._executor)
        except BaseException:
            await self.run(os.close, entry)
            raise
        if self._opening is None:  # one that could not be written is kept: it has its place in `seq`
            line = first_line(self.count + 1, self.name)
            self._opening = line[:-3] + b" " * (FIRST_LINE_BYTES - len(line)) + line[-3:]
        try:
            taken = 0
            while taken < len(self._opening):
                taken += await file.write(self._opening[taken:])
        except OSError:
            await self.run(os.close, entry)
            await file.close()
            await self.run(path.unlink, True)  # it is our own and holds nothing
            raise
        await self.close()
        self._index = index.Growing()
        self._index.wrote(self._opening)
        self._index.lines(array("Q", [0]), 0, bytes(HASH_BYTES))
        self._file, self._path, self._opening, self._entry = file, path, None, entry
        self._opened = time.monotonic()
        self.bytes = taken
        self.count += 1

    def forget_opening(self) -> bool:
        """The next segment is not to begin with the line that was made for it, if there is one: that finds another place."""
        opening, self._opening = self._opening, None
        return opening is not None

    async def write(self, part: memoryview) -> int:
        """Append `part`, or its beginning: a write may be short without an exception. How many bytes were taken."""
        assert self._file is not None
        try:
            taken: int = await self._file.write(part)
        finally:
            self.answered += 1
        self.bytes += taken
        if self._index is not None:
            self._index.wrote(part[:taken])
        return taken

    def wrote(self, starts: "array[int]", offset: int, hashes: bytes) -> None:
        """What was written are these lines; see `pipeline.index.Growing.lines`."""
        if self._index is not None:
            self._index.lines(starts, offset, hashes)

    def leave_index(self) -> None:
        """The present segment goes another way than the usual: its index is built from the file, once that is closed."""
        self._index = None

    async def cut(self, length: int) -> None:
        """Take the last `length` bytes back. Only for a line that was begun and is not whole."""
        assert self._file is not None
        self.leave_index()
        await self.run(os.ftruncate, self._file.fileno(), self.bytes - length)
        self.bytes -= length

    async def sync(self) -> None:
        """Flush what is written, and a new segment's entry in the folder. Raises ``OSError`` and ``SegmentGone``."""
        assert self._file is not None
        await self.run(_sync, self._file.fileno(), self._path, self._entry)
        await self._close_entry()

    async def close(self) -> None:
        """Close the present segment, if there is one; what a file throws when it is closed changes nothing."""
        await self._close_entry()
        if self._file is not None:
            file, self._file = self._file, None
            if self._index is not None:
                with contextlib.suppress(RuntimeError):  # No thread can be started just now.
                    self._spare.submit(_keep, self._index.index(), index_of(self._path))
                self._index = None
            with contextlib.suppress(Exception):  # Whatever it is, the file is no longer ours.
                await file.close()

    async def _close_entry(self) -> None:
        if self._entry is not None:
            entry, self._entry = self._entry, None
            await self.run(os.close, entry)

    async def run(self, function: Callable[..., R], *arguments: Any) -> R:
        """`function(*arguments)` where all of the log's input and output is done."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        finally:
            self.answered += 1


def _keep(grown: index.Index, path: Path) -> None:
    with contextlib.suppress(OSError):  # It can be built from the file.
        index.save(grown, path)


def _sync(file: int, path: Path, entry: int | None) -> None:
    os.fdatasync(file)
    try:
        if path.stat().st_ino != os.fstat(file).st_ino:
            raise SegmentGone(path.name)
    except FileNotFoundError:
        raise SegmentGone(path.name) from None
    if entry is not None:
        os.fsync(entry)
