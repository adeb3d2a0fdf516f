"""The ring: where encoded lines wait for the writer, in a preallocated file that outlives the process.

`put` copies a line into a memory-mapped file and publishes it with one aligned store. What the kernel has, a killed
process cannot take back: whatever was put is there at the next start. The file's blocks are reserved when it is made, so a
full disk cannot fault the mapping.

Format, version 1; words are 64 bits in the machine's order:

    0       header: MAGIC, bytes of data, number of slots, head, tail, then the owner (see `Owner`) and the losses
    4,096   slots, two words each: where the line ends; its CRC-32, level (8 bits) and request's hash (24 bits, see `checksum`), lowest first
    …       data: the lines, one after the other, each with its newline; one may wrap around the end

Lines are numbered 1, 2, 3… for the life of the file. Line n has the slot n modulo their number; it lies between the place where
line n-1 ends and its own, and a place is a distance from the beginning of time, found at its remainder by the size.
Lines up to `tail` are safe elsewhere; those up to `head` are whole. Nothing between is believed without its checksum, which
matters after a power cut, when the kernel may have kept some pages of the file and not others.

    data   |---- free ----|==== written, not flushed ====|==== waiting ====|---- free ----|
                          tail                                             head
"""

import contextlib
import fcntl
import mmap
import os
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from .checksum import crc32, hashes_in

MAGIC = int.from_bytes(b"CKRING01", "little")
HEADER_BYTES = 4_096
SLOTS = 1 << 15
MAX_LINE = 8_000
"""A line is never longer (see `record`); a slot that says otherwise is damaged."""

_SLOT_BYTES = 16
_MAGIC, _SIZE, _SLOTS, _HEAD, _TAIL, _PID, _BOOT, _RUN = range(8)
_LOSSES = 16
_WORDS = HEADER_BYTES // 8
_MASK = 0xFFFFFFFF
_REQUEST_SHIFT = 40
_MADV_POPULATE_WRITE = 23


class RingInUse(Exception):
    """Another process has the ring."""


class Damaged(Exception):
    """The file is no ring, or not one that can be read."""


class Owner(NamedTuple):
    """Which process writes a ring: its boot, and the run of the server that it is a worker of."""

    boot: str
    run: str
    pid: int


class Held(NamedTuple):
    """One line that a ring holds: its number, level, and bytes, or None where they are damaged."""

    number: int
    level: int
    line: bytes | None


class Ring:
    """A bounded first-in-first-out buffer of lines in a file, or in private memory when there is no `path`.

    `shares` says for each level how much of the ring may be in use for a line of that level still to be taken. Only one process
    has a ring at a time; within it calls come one at a time.
    """

    def __init__(
        self,
        size: int,
        shares: Mapping[int, float],
        path: Path | None = None,
        *,
        slots: int = SLOTS,
        aside: Path | None = None,
    ) -> None:
        """Open the ring at `path`, or make it `size` bytes long.

        A ring that is there is taken as it is, whatever its size, so that what it holds can be read; `renew` comes later. One that is
        damaged is moved `aside`, if that is given, before anybody else can have it. With a `size` of 0 none is made.
        Raises ``RingInUse``, ``Damaged`` and ``OSError``.
        """
        self._shares = dict(shares)
        self._file = None if path is None else _taken(path)
        try:
            if self._file is None or (size and os.fstat(self._file).st_size == 0):
                self._format(size, slots)
            else:
                self._load()
        except BaseException as error:
            if isinstance(error, Damaged) and path is not None and aside is not None:
                path.rename(aside)
            self.close()
            raise

    def _format(self, size: int, slots: int) -> None:
        """Make an empty ring of what is there. The magic number comes last: without it the file counts as empty."""
        assert slots & (slots - 1) == 0, "slots are found by masking"
        length = HEADER_BYTES + slots * _SLOT_BYTES + size
        if self._file is None:
            self._map = mmap.mmap(-1, length)
        else:
            os.ftruncate(self._file, 0)
            try:
                os.posix_fallocate(self._file, 0, length)
            except OSError:
                os.ftruncate(self._file, 0)  # It is no ring, and no damaged one.
                raise
            self._map = mmap.mmap(self._file, length)
            # Pages are brought in now, not one by one while events come; where the kernel cannot (before Linux 5.14), then.
            with contextlib.suppress(OSError):
                self._map.madvise(_MADV_POPULATE_WRITE)
        self._attach(size, slots)
        self._words[_SIZE], self._words[_SLOTS] = size, slots
        self._words[_MAGIC] = MAGIC

    def _load(self) -> None:
        assert self._file is not None
        length = os.fstat(self._file).st_size
        if length < HEADER_BYTES:
            raise Damaged(f"it has {length} bytes")
        self._map = mmap.mmap(self._file, length)
        header = struct.unpack_from("=5Q", self._map)
        magic, size, slots, head, tail = header
        sound = slots and slots & (slots - 1) == 0 and length == HEADER_BYTES + slots * _SLOT_BYTES + size
        if magic != MAGIC or not sound or not size:
            raise Damaged("its header is not one of ours")
        if not 0 <= head - tail < slots or head >= 1 << 62:
            raise Damaged("its head and its tail do not belong together")
        self._attach(size, slots)

    def _attach(self, size: int, slots: int) -> None:
        self.size = size
        self._mask = slots - 1
        self._base = HEADER_BYTES + slots * _SLOT_BYTES
        self._end = self._base + size
        self._view = memoryview(self._map)
        self._words = self._view[: self._base].cast("Q")
        self.head = self._words[_HEAD]
        self.tail = self._words[_TAIL]
        self.place = self.end_of(self.head)
        self._at = self._base + self.place % size
        self._set_limits()

    def _set_limits(self) -> None:
        """How far each level may go from the present tail on."""
        start = self.tail_place = self.end_of(self.tail)
        self._limits = {
            level: (start + int(self.size * share), self.tail + int(self._mask * share), level << 32)
            for level, share in self._shares.items()
        }

    def put(self, line: bytes, level: int, request: int = 0) -> int:
        """Copy `line` in and return its number; 0 when there is no room for one of that level. `request` is its request's hash."""
        check = crc32(line)
        length = len(line)
        # From here to the publishing store nothing is called, so that no other `put` can come between (a finaliser that logs).
        last_place, last_number, above = self._limits[level]
        place = self.place + length
        number = self.head + 1
        if place > last_place or number > last_number:
            return 0
        start = self._at
        end = start + length
        if end < self._end:
            self._map[start:end] = line
        else:
            split = self._end - start
            self._map[start : self._end] = line[:split]
            end = self._base + length - split
            self._map[self._base : end] = line[split:]
        self._at = end
        self.place = place
        words = self._words
        slot = _WORDS + 2 * (number & self._mask)
        words[slot] = place
        words[slot + 1] = request << _REQUEST_SHIFT | above | check
        self.head = words[_HEAD] = number
        return number

    def end_of(self, number: int) -> int:
        """The place after line `number`, which is the tail or lies between tail and head."""
        return self._words[_WORDS + 2 * (number & self._mask)]

    def level_of(self, number: int) -> int:
        """The level of line `number`."""
        return self._words[_WORDS + 2 * (number & self._mask) + 1] >> 32 & 0xFF

    def lines(self, first: int, last: int) -> "tuple[array[int], bytes]":
        """Of the lines from `first` to `last`: the places where they end, and the hashes of their requests, one after the other."""
        words: array[int] = array("Q")
        start, end = (HEADER_BYTES + _SLOT_BYTES * (number & self._mask) for number in (first, last + 1))
        if first <= last and start < end:
            words.frombytes(self._view[start:end])
        elif first <= last:  # They go on at the beginning.
            words.frombytes(self._view[start : self._base])
            words.frombytes(self._view[HEADER_BYTES:end])
        others = words[1::2]
        if sys.byteorder == "big":
            others.byteswap()
        return words[::2], hashes_in(others.tobytes(), 8, _REQUEST_SHIFT // 8)

    def between(self, start: int, end: int) -> list[memoryview]:
        """What lies between two places, in order, as one slice or two; valid until the tail passes it."""
        if start == end:
            return []
        base, size = self._base, self.size
        first, last = base + start % size, base + end % size
        if first < last:
            return [self._view[first:last]]
        parts = [self._view[first : base + size]]
        return [*parts, self._view[base:last]] if last > base else parts

    def release(self, number: int) -> None:
        """Every line up to `number` is safe elsewhere."""
        self.tail = self._words[_TAIL] = number
        self._set_limits()

    def held(self) -> Iterator[Held]:
        """The lines between tail and head, in order, each checked. A place that makes no sense ends the search: what follows is damaged."""
        start = self.end_of(self.tail)
        for number in range(self.tail + 1, self.head + 1):
            end = self.end_of(number)
            line = None
            if start < end <= start + MAX_LINE:
                line = b"".join(self.between(start, end))
                check = self._words[_WORDS + 2 * (number & self._mask) + 1] & _MASK
                if crc32(line) != check or not line.endswith(b"\n"):
                    line = None
                start = end
            yield Held(number, self.level_of(number) if line is not None else 0, line)

    @property
    def used(self) -> int:
        """Bytes in use."""
        return self.place - self.tail_place

    def renew(self, size: int, number: int) -> None:
        """Begin again, `size` bytes long: a ring that holds nothing, whose next line is the one after `number`."""
        assert self.head == self.tail, "what a ring holds would be lost"
        losses = self.losses.tolist()
        if size != self.size:
            slots = self._mask + 1
            self._detach()
            self._format(size, slots)
        self._words[_WORDS + 2 * (number & self._mask)] = self.place
        self._words[_TAIL] = self._words[_HEAD] = self.head = self.tail = number
        self._set_limits()
        for index, loss in enumerate(losses):
            self.losses[index] = loss

    @property
    def owner(self) -> Owner | None:
        """Who writes the ring, or wrote it last and did not say that it ended."""
        words = self._words
        if not words[_PID]:
            return None
        return Owner(_text(words[_BOOT]), _text(words[_RUN]), words[_PID])

    def own(self, owner: Owner | None) -> None:
        """Say who writes from now on; None is an orderly end."""
        words = self._words
        if owner is None:
            words[_PID] = 0
            return
        words[_BOOT], words[_RUN] = _word(owner.boot), _word(owner.run)
        words[_PID] = owner.pid

    @property
    def losses(self) -> memoryview:
        """Sixteen words of the file for whoever counts what the ring could not take."""
        return self._words[_LOSSES : _LOSSES + 16]

    def close(self) -> None:
        """Let go of the file, and of its lock."""
        self._detach()
        if self._file is not None:
            # Said, because a mapping that somebody still looks at keeps a descriptor of its own.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            os.close(self._file)
            self._file = None

    def _detach(self) -> None:
        for name in ("_words", "_view"):
            if (view := self.__dict__.pop(name, None)) is not None:
                view.release()
        if (mapped := self.__dict__.pop("_map", None)) is not None:
            with contextlib.suppress(
                BufferError
            ):  # A write that hangs still holds a slice; the mapping goes with the process.
                mapped.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _taken(path: Path) -> int:
    """The file at `path`, made if need be, locked for this process; its descriptor."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise RingInUse(str(path)) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        os.close(file)  # Whoever had it moved it aside.


def _word(text: str) -> int:
    return int.from_bytes(text.encode()[:8].ljust(8, b"\0"), "little")


def _text(word: int) -> str:
    return word.to_bytes(8, "little").rstrip(b"\0").decode("ascii", "replace")
