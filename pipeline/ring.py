"""The ring: where encoded lines wait for the writer, in one preallocated buffer.

Lines are copied in at `put` and never kept as objects of their own: a queue of `bytes` costs a page fault an event. A
place is the distance in bytes from the beginning of time; the buffer holds those from `tail` to `head`, each at its place
modulo the size, and a line may wrap around the end.

    buffer   |---- free ----|==== waiting ====|---- free ----|
                            tail              head
"""


class Ring:
    """A bounded first-in-first-out buffer of bytes, `size` long. `head` and `tail` only ever grow."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.head = 0
        self.tail = 0
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)

    @property
    def used(self) -> int:
        """Bytes that wait."""
        return self.head - self.tail

    def put(self, line: bytes) -> int:
        """Copy `line` in and return the place after it. The caller has made sure that it fits."""
        start = self.head % self.size
        end = start + len(line)
        if end <= self.size:
            self._buffer[start:end] = line
        else:
            split = self.size - start
            self._buffer[start:] = line[:split]
            self._buffer[: end - self.size] = line[split:]
        self.head += len(line)
        return self.head

    def between(self, start: int, end: int) -> list[memoryview]:
        """What lies between two places, in order, as one slice or two; valid until it is released."""
        first, last = start % self.size, end % self.size
        if start == end:
            return []
        if first < last:
            return [self._view[first:last]]
        return [self._view[first:], self._view[:last]] if last else [self._view[first:]]

    def release(self, place: int) -> None:
        """Everything before `place` is safe elsewhere."""
        self.tail = place
