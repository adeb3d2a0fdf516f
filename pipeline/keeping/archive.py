"""From a closed segment to its archive: whole, or not at all.

A killed process leaves the segment, its archive, or both, never neither: the archive is complete, read back and flushed before it gets
its name, and only then is the segment deleted.
"""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from pipeline.blocks import Blocks, compress
from pipeline.checksum import crc32
from pipeline.flush import flush
from pipeline.segments import FILE_MODE, FOLDER_MODE, archive_of

GoOn = Callable[[], None]


class Sizes(NamedTuple):
    """A segment's bytes before and after."""

    live: int
    archived: int


def archive(segment: Path, go_on: GoOn) -> Sizes:
    """Move the closed live `segment` to the archive. `go_on` is asked before each block, and may raise to leave off.

    Raises ``OSError`` when it cannot be done; then nothing has changed.
    """
    target = archive_of(segment)
    target.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
    unfinished = target.with_name(f".{target.name}")
    try:
        sizes = _compress(segment, unfinished, go_on)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)  # it takes room that may be what is missing
        raise
    flush(target.parent)
    segment.unlink()
    return sizes


def _compress(segment: Path, target: Path, go_on: GoOn) -> Sizes:
    wrote: list[int] = []
    with Blocks(segment) as blocks, _new(target) as file:
        compress(_each(blocks, wrote, go_on), file)
        file.flush()
        os.fsync(file.fileno())
        sizes = Sizes(blocks.size, file.tell())
    read: list[int] = []
    with Blocks(target) as blocks:
        for _ in _each(blocks, read, go_on):
            pass
    if read != wrote:
        raise OSError(errno.EIO, "what was archived reads differently")
    state = segment.stat()
    os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))  # its age stays
    return sizes


def _each(blocks: Blocks, checksums: list[int], go_on: GoOn) -> Iterator[bytes]:
    for number in range(blocks.count):
        go_on()
        block = blocks.read(number)
        if block is None:
            raise OSError(errno.EIO, f"block {number} cannot be read")
        checksums.append(crc32(block))
        yield block


def _new(path: Path) -> IO[bytes]:
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, FILE_MODE))
