"""How far the ring is written: which of its lines are in a segment, and up to where they are flushed.

    tail ──── written, not yet flushed ──── number ──── waiting ──── head
                                                 place: perhaps in the middle of the line after `number`

Two kinds of lines come before their turn: those that a dead process left (`lead`), and urgent ones on a full disk (`ahead`).
"""

from bisect import insort
from collections.abc import Callable, Iterator

from pipeline.ring import Ring

Span = tuple[int, int]
"""Where a line, or several, begin and end in the ring."""


class Progress:
    """What of `ring` is written since the last flush, and what is still to be."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self.number = ring.tail
        """The last line that is wholly written."""
        self.place = ring.tail_place
        """Up to where the ring is written."""
        self.lead = memoryview(b"")
        """What is left of the lines that come first."""
        self._recovered = (b"", ring.tail)
        self._then: Callable[[], None] | None = None
        self._ahead: list[Span] = []  # in order

    def lead_with(self, lines: bytes, until: int, then: Callable[[], None]) -> None:
        """Before anything else `lines` are to be written; they stand for what the ring holds up to its line `until`.

        `then` is called when they are flushed.
        """
        self._recovered = (lines, until)
        self._then = then
        self.begin_again()

    def begin_again(self) -> None:
        """Nothing is written that is not flushed."""
        lines, until = self._recovered
        if self._then is None:
            self.number = self._ring.tail
        else:
            self.lead, self.number = memoryview(lines), until
        self.place = self._ring.end_of(self.number)
        self._ahead = []

    @property
    def waiting(self) -> int:
        """How many lines are not written."""
        return self._ring.head - self.number

    @property
    def is_flushed(self) -> bool:
        """Whether all that is written is flushed."""
        return self.number == self._ring.tail and self._then is None

    @property
    def is_done(self) -> bool:
        """Whether everything is written and flushed."""
        return self.is_flushed and self._ring.head == self._ring.tail

    @property
    def unflushed_bytes(self) -> int:
        """What would be written again if it is not flushed."""
        return self._ring.end_of(self.number) - self._ring.tail_place

    @property
    def is_between_lines(self) -> bool:
        """Whether a segment could end here."""
        return self.place == self._ring.end_of(self.number) and not self.lead

    def spans(self, until: int) -> Iterator[Span]:
        """What is still to be written up to the line `until`: without the lines that were written ahead."""
        place, last = self.place, self._ring.end_of(until)
        for start, end in [*self._ahead, (last, last)]:
            if place <= start <= last:
                if place < start:
                    yield place, start
                place = end

    def wrote(self, until: int) -> None:
        """Everything up to that line is written."""
        self.number, self.place = until, self._ring.end_of(until)
        if self._ahead:
            self._ahead = [(start, end) for start, end in self._ahead if start >= self.place]

    def whole(self) -> int:
        """The last line that is wholly written, also when more of them are than `number` says."""
        number = self.number
        while number < self._ring.head and self._ring.end_of(number + 1) <= self.place:
            number += 1
        return number

    def wrote_ahead(self, span: Span) -> None:
        """A line is written before its turn."""
        insort(self._ahead, span)

    def take_back(self, span: Span) -> None:
        """A line is to be written in its turn after all."""
        if span in self._ahead:
            self._ahead.remove(span)

    def is_ahead(self, span: Span) -> bool:
        """Whether a line was written before its turn."""
        return span in self._ahead

    def flushed(self, number: int) -> None:
        """Everything written up to that line is safe: the ring need not hold it any longer."""
        then, self._then = self._then, None
        try:
            if then is not None:
                self._recovered = (b"", 0)
                then()  # before the release: a kill in between repeats it
        finally:
            self._ring.release(number)
