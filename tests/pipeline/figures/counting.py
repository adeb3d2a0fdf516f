"""A worker that counts until it is killed: `python -m tests.pipeline.figures.counting FOLDER HOW`.

Event n fails when 7 divides it and takes n % 50 ms. It begins after the last event that the file counts, as recovery does, and
prints each number that was committed. HOW is `whole`, or `apart`: totals first and then their number, which must go wrong.
"""

import sys
from itertools import count
from pathlib import Path

from pipeline.catalogue import Observation
from pipeline.figures.windows import Windows


class Apart(Windows):
    """The mistake: two steps, and a moment between them in which the file is wrong."""

    def commit(self, counted: int | None = None) -> None:
        before = self._counted
        self._count()
        self._file.commit(before, self._totals, self._last_at + self._last_ms)
        super().commit(counted)


def main(folder: Path, how: str) -> None:
    windows = (Windows if how == "whole" else Apart)(folder / "worker-1.windows")
    for number in count(windows.counted + 1):
        windows.observe(Observation(f"/{number % 5}", float(number % 50), number % 7 == 0, limited=False))
        if number % 3 == 0 or number % 1_000 == 0:
            windows.commit(number)
            print(number, flush=True)
        if number % 1_000 == 0:
            windows.tick()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
