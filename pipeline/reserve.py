"""Room for the worst: a file that holds disk space until the disk is full, so that errors and the record of losses still fit.

The space is given back to the file system when a write finds none, and only what is urgent is written from then on. That the file can
be made again is how the writer learns that there is room once more.
"""

import contextlib
import os
from pathlib import Path

RESERVE_BYTES = 256 << 10
NAME = ".reserve"


class Reserve:
    """`size` bytes of the disk on which `folder` is."""

    def __init__(self, folder: Path, size: int = RESERVE_BYTES) -> None:
        self._path = folder / NAME
        self._size = size

    def take(self) -> bool:
        """Hold the space; False when there is not that much."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(file, 0, self._size)
        except OSError:
            self.give()
            return False
        finally:
            os.close(file)
        return True

    def give(self) -> None:
        """Give the space back."""
        with contextlib.suppress(
            OSError
        ):  # What refuses even this has other troubles, which the next write meets.
            self._path.unlink(missing_ok=True)
