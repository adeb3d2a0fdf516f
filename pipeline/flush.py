"""What has been written to a file or folder is on the disk, and outlives a power cut."""

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Wait until the disk has what `path` holds: a file's content, or a folder's entries. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
