"""An index of a closed segment: in which blocks a request's events are, and what each block's bytes were.

It holds, in the order of the log, three bytes for each event. To look a request up is to search that short string, a hundredth of
the log, for three bytes. Nothing is sorted: sorting would cost as much as all the rest. What is found is only where to look: the
reader reads the block and judges by the event itself.

Whoever writes a segment has all of that at hand and lets the index grow with it (`Growing`), which costs next to nothing. For a
segment that did not go the usual way, or whose writer was killed, it is built from the file (`build`).

Format, version 1, integers little-endian; a block is `blocks.BLOCK` bytes:

    "CKINDEX1"
    u64             size of the segment in bytes
    u32 x 2         n blocks, m entries
    u32 x n         CRC-32 of each block
    u32 x n         how many entries there are up to the end of each block
    u24 x m         entries: the low 24 bits of the CRC-32 of the request's ID, for each event in the order of the log;
                    an event of no request has zeros, or none
    u32             CRC-32 of everything before

An event belongs to the block in which its line begins. An index that is absent, torn, damaged or of another size than its
segment is not believed; the segment is then read whole.
"""

import contextlib
import os
import re
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from threading import get_native_id
from typing import NamedTuple

from .blocks import BLOCK, Blocks
from .checksum import HASH_BYTES, crc32, hash_of, hashes_in
from .segments import FILE_MODE, FOLDER_MODE, index_of

MAGIC = b"CKINDEX1"
_HEADER = struct.Struct("<8sQII")
# As the encoder writes it, found by a rare letter: that halves the time. A match too many costs an entry, one too few an event.
_IDS = re.compile(rb'quest_id": ?"([^"]+)')
_LONGEST_LINE = 1 << 16


class Index(NamedTuple):
    """What an index says of its segment of `size` bytes: see the format above."""

    size: int
    checksums: "array[int]"
    ends: "array[int]"
    entries: bytes

    def blocks(self, request_id: bytes) -> list[int]:
        """The blocks in which events of that request can begin, ascending; in no other is there one."""
        wanted = hash_of(request_id).to_bytes(HASH_BYTES, "little")
        found: list[int] = []
        at = self.entries.find(wanted)
        while at >= 0:
            if at % HASH_BYTES == 0:
                block = bisect_right(self.ends, at // HASH_BYTES)
                if block not in found[-1:]:
                    found.append(block)
            at = self.entries.find(wanted, at + 1)
        return found


def index_blocks(blocks: Iterable[bytes]) -> Index:
    """The index of a segment that consists of `blocks`."""
    size = 0
    checksums, counts = array("I"), array("I")
    entries: list[bytes] = []
    line = b""  # the beginning of one that ends in the next block, and counts where it began
    for block in blocks:
        size += len(block)
        checksums.append(crc32(block))
        start = 0
        if line:
            start = block.find(b"\n") + 1
            line += block[: start or None]
            if not start:
                line = line[:_LONGEST_LINE]
                counts.append(0)
                continue
            counts[-1] += _add(entries, _IDS.findall(line))
        end = block.rfind(b"\n") + 1
        counts.append(_add(entries, _IDS.findall(block, start, end)))
        line = block[max(start, end) :]
    if line:
        counts[-1] += _add(entries, _IDS.findall(line))
    return Index(size, checksums, array("I", accumulate(counts)), b"".join(entries))


def _add(entries: list[bytes], ids: list[bytes]) -> int:
    hashes = array("I", map(crc32, ids))
    if sys.byteorder == "big":
        hashes.byteswap()
    entries.append(hashes_in(hashes.tobytes(), 4))
    return len(ids)


class Growing:
    """The index of a segment that is being written; it is told of every byte, and of every line in order."""

    def __init__(self) -> None:
        self._size = self._checksum = self._count = 0
        self._checksums, self._ends = array("I"), array("I")
        self._entries: list[bytes] = []

    def wrote(self, part: bytes | memoryview) -> None:
        """These bytes came next."""
        left = memoryview(part)
        while left:
            piece = left[: BLOCK - self._size % BLOCK]
            left = left[len(piece) :]
            self._size += len(piece)
            self._checksum = crc32(piece, self._checksum)
            if self._size % BLOCK == 0:
                self._checksums.append(self._checksum)
                self._checksum = 0

    def lines(self, starts: "array[int]", offset: int, hashes: bytes) -> None:
        """Lines came that begin at the bytes `starts`, ascending and each plus `offset`, of requests with these `hashes`."""
        while starts and (end := (len(self._ends) + 1) * BLOCK) <= starts[-1] + offset:
            self._ends.append(self._count + bisect_left(starts, end - offset))
        self._count += len(starts)
        self._entries.append(hashes)

    def index(self) -> Index:
        """The index of what there is."""
        checksums = self._checksums + array("I", [self._checksum] * (self._size % BLOCK > 0))
        ends = self._ends + array("I", [self._count] * (len(checksums) - len(self._ends)))
        return Index(self._size, checksums, ends, b"".join(self._entries))


def build(segment: Path) -> Index:
    """Index `segment`, live or archived, and keep the index. Raises ``OSError``.

    A block that cannot be read is one without events: nothing would be found in it.
    """
    with Blocks(segment) as blocks:
        index = index_blocks(blocks.read(number) or b"" for number in range(blocks.count))
    save(index, index_of(segment))
    return index


def save(index: Index, path: Path) -> None:
    """Keep `index` at `path`: whole, or not at all. Raises ``OSError``."""
    body = b"".join(
        (
            _HEADER.pack(MAGIC, index.size, len(index.checksums), len(index.entries) // HASH_BYTES),
            _packed(index.checksums),
            _packed(index.ends),
            index.entries,
        )
    )
    path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{get_native_id()}")
    try:
        with open(unfinished, "wb", opener=lambda name, flags: os.open(name, flags, FILE_MODE)) as file:
            file.write(body + struct.pack("<I", crc32(body)))
            file.flush()
            os.fdatasync(file.fileno())
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def load(segment: Path) -> Index | None:
    """The index of `segment` as it was kept; None when there is none that can be believed."""
    try:
        data = index_of(segment).read_bytes()
    except OSError:
        return None
    if len(data) < _HEADER.size + 4 or crc32(memoryview(data)[:-4]) != int.from_bytes(data[-4:], "little"):
        return None
    magic, size, blocks, entries = _HEADER.unpack_from(data)
    ends_at = _HEADER.size + 4 * blocks
    entries_at = ends_at + 4 * blocks
    if magic != MAGIC or len(data) != entries_at + HASH_BYTES * entries + 4:
        return None
    return Index(
        size,
        _unpacked(data[_HEADER.size : ends_at]),
        _unpacked(data[ends_at:entries_at]),
        data[entries_at:-4],
    )


def _packed(words: "array[int]") -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


def _unpacked(data: bytes) -> "array[int]":
    return array("I", struct.unpack(f"<{len(data) // 4}I", data))
