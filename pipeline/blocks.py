"""A segment as blocks of 65,280 bytes, live or archived: what an index points into and what a checksum covers.

An archive is blocked gzip (BGZF, section 4.1 of the SAM specification, as `bgzip` writes it): each block is a gzip member
of its own, whose header says how long it is. So `zcat` reads an archive, one block can be read without those before it, and a
flipped bit costs one block and not the rest of the file.

    member   1f 8b 08 04 00000000 00 ff 0600 'B' 'C' 0200 | its length - 1, two bytes | deflated data | CRC-32 | its size before
    the end  a member of nothing, so that a cut archive shows

A block that cannot be had is None: a reader tells of it and goes on. After a header that is damaged the next member is searched
for, and from there on nobody can know the blocks' true numbers; `sound` says so.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Self

from pipeline.checksum import crc32

BLOCK = 65_280
"""The most that fits a member whatever it holds; the last block of a segment is shorter."""

_HEAD = bytes.fromhex("1f8b0804 00000000 00ff 0600 4243 0200")
_LENGTH_AT = len(_HEAD)
_DATA_AT = _LENGTH_AT + 2
_TRAILER = 8
_LEVEL = 6


def compress(blocks: Iterable[bytes], target: IO[bytes]) -> None:
    """Write `blocks`, each of `BLOCK` bytes but the last, as an archive."""
    for block in blocks:
        target.write(_member(block))
    target.write(_member(b""))


def _member(block: bytes) -> bytes:
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = deflate.compress(block) + deflate.flush()
    length = _DATA_AT + len(data) + _TRAILER
    return b"".join(
        (_HEAD, struct.pack("<H", length - 1), data, struct.pack("<II", crc32(block), len(block)))
    )


class Blocks:
    """The blocks of one segment; raises ``OSError`` when it cannot be opened. `size` is in bytes before compression."""

    def __init__(self, segment: Path) -> None:
        self._archived = segment.suffix == ".gz"
        self._file = os.open(segment, os.O_RDONLY)
        self._places: list[tuple[int, int]] = []  # of each member: where it begins and ends
        self.sound = True
        try:
            self._data = self._read_archive() if self._archived else b""
        except OSError:
            os.close(self._file)
            raise
        self.size = 0 if self._archived else os.fstat(self._file).st_size
        self.count = len(self._places) if self._archived else -(-self.size // BLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def read(self, number: int) -> bytes | None:
        """Block `number` (from 0), or None when it cannot be had."""
        if self._archived:
            return self._inflated(*self._places[number])
        start = number * BLOCK
        try:
            return os.pread(self._file, min(BLOCK, self.size - start), start)
        except OSError:
            return None

    def _read_archive(self) -> bytes:
        data = b"".join(iter(lambda: os.read(self._file, 1 << 20), b""))
        at = 0
        while at < len(data):
            end = at + _length(data, at)
            if end == at or end > len(data) or (end < len(data) and not _length(data, end)):
                self.sound = False
                end = data.find(_HEAD, at + 1)
                end = len(data) if end < 0 else end
            self._places.append((at, end))
            at = end
        if self._places and data[slice(*self._places[-1])] == _END:
            self._places.pop()
        else:  # It was cut, and what came after is gone: a block that cannot be had.
            self.sound = False
            self._places.append((len(data), len(data)))
        return data

    def _inflated(self, start: int, end: int) -> bytes | None:
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            block = inflate.decompress(self._data[start:end], BLOCK + 1)
        except zlib.error:
            return None
        # The checksum is compared at the end of the member and not before.
        return block if inflate.eof and len(block) <= BLOCK and not inflate.unused_data else None


def _length(data: bytes, at: int) -> int:
    """How long the member is whose header is at that place, as it says itself; 0 where there is none."""
    if data[at : at + _LENGTH_AT] != _HEAD or at + _DATA_AT > len(data):
        return 0
    return 1 + int.from_bytes(data[at + _LENGTH_AT : at + _DATA_AT], "little")


_END = _member(b"")
