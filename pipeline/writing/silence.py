"""A disk that does not answer is none, and whoever waits for it is told so.

Seconds are counted by looks and not by a clock: while the process itself is stopped, nobody looks.
"""

SILENT_SECONDS = 3
"""How long a call to the disk may take before nobody is kept waiting for it."""


class Silence:
    """How long the disk has been silent; `look` is called each second."""

    def __init__(self) -> None:
        self._answered = self._looks = 0

    def look(self, answered: int, *, busy: bool) -> bool:
        """Whether it has been silent for too long: `answered` calls came back so far, and while `busy` one is waited for."""
        self._looks = self._looks + 1 if busy and answered == self._answered else 0
        self._answered = answered
        return self._looks >= SILENT_SECONDS
