"""Room for the worst: a file that holds disk space until the disk is full, so that errors and the record of losses still fit.

The space is given back to the file system when a write finds none, and only what is urgent is written from then on. That the file can
be made again, with as much beside it, is how the writer learns that there is room once more: the reserve alone is what it gave back.
"""

import contextlib
import errno
import os
from pathlib import Path

RESERVE_BYTES = 256 << 10
NAME = ".reserve"


def is_full(error: Exception) -> bool:
    """Whether `error` says that there is no room; another file would find none either."""
    return getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}


class Reserve:
    """`size` bytes of the disk on which `folder` is."""

    def __init__(self, folder: Path, size: int = RESERVE_BYTES) -> None:
        self._path = folder / NAME
        self._size = size

    def take(self, beside: int = 0) -> bool:
        """Hold the space; False when there is not that much, with `beside` bytes more.

        Raises ``OSError`` for whatever else is wrong, such as a folder that has gone.
        """
        if (
            _free(self._path.parent) < self._size + beside
        ):  # asked first, so that nobody else finds the last room taken
            return False
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, self._size + beside)
                os.ftruncate(file, self._size)
            finally:
                os.close(file)
        except OSError as error:
            self.give()
            if not is_full(error):
                raise
            return False
        return True

    def take_again(self) -> bool:
        """Hold the space again, after it was given back; False while there is no more room than that.

        Where there is room and only no inode for a file that holds it, the log does without.
        """
        return self.take(self._size) or _lacks_an_inode(self._path.parent, 2 * self._size)

    def give(self) -> None:
        """Give the space back."""
        with contextlib.suppress(
            OSError
        ):  # What refuses even this has other troubles, which the next write meets.
            self._path.unlink(missing_ok=True)


def _lacks_an_inode(folder: Path, size: int) -> bool:
    """Whether it is only for want of an inode that a file of `size` bytes could not be made; some file systems have no number of them."""
    status = os.statvfs(folder)
    return status.f_files > 0 == status.f_ffree and _free(folder) >= size


def _free(folder: Path) -> int:
    """Bytes that we may use where `folder` is."""
    status = os.statvfs(folder)
    return (status.f_bavail if os.geteuid() else status.f_bfree) * status.f_frsize
