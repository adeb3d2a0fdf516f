"""Disks of one's own to break: a small tmpfs, an ext4 image whose power can be cut, that can die, and that can hang."""

import fcntl
import os
import shlex
import signal
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.harness import clean_environment, needs
from tests.waiting import ENOUGH_SECONDS

_EXT4_IOC_SHUTDOWN = 0x8004587D
_NOLOGFLUSH = 2


def _do(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def strace(*injected: str) -> tuple[str, ...]:
    """Run it so that these system calls fail."""
    calls = ",".join(one.split(":")[0] for one in injected)
    injections = [part for one in injected for part in ("-e", f"inject={one}")]
    return "strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", *injections


def killed_in(call: str, command: Sequence[str | Path], when: int = 1, watched: Sequence[str] = ()) -> None:
    """Run `command`, which is killed in its `when`-th such system call (of those on the paths that are `watched`, if any)."""
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}"]
    traced = [needs("strace"), "-f", "-qq", "-o", "/dev/null", *watched, *inject, *command]
    done = subprocess.run(traced, env=clean_environment(), check=False, timeout=ENOUGH_SECONDS)
    assert done.returncode == -signal.SIGKILL, f"it was not killed in {call}"


@contextmanager
def tmpfs(place: Path, size: str, inodes: int = 0) -> Iterator[Path]:
    """A file system in memory, of that size."""
    place.mkdir(parents=True, exist_ok=True)
    options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
    _do("mount", "-t", "tmpfs", "-o", options, "tmpfs", place)
    try:
        yield place
    finally:
        _do("umount", "-l", place)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Within the block there is no room on `disk`."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


class Disk:
    """An ext4 image that is mounted at `place`."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image, self.place = image, place

    def after_power_cut(self, copy: Path) -> "Disk":
        """The disk as it would be found if the power went now: what was not flushed is not in it."""
        _do("cp", "--sparse=always", self.image, copy)
        return Disk(copy, copy.with_suffix(".mounted"))

    def die(self) -> None:
        """From here on every operation gets EIO."""
        file = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(file, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
        finally:
            os.close(file)

    @contextmanager
    def hanging(self, at_most: float = 60) -> Iterator[None]:
        """Whoever writes waits until the end of the block, or `at_most` seconds should this process not get there."""
        thaw = f"sleep {at_most}; fsfreeze -u {shlex.quote(str(self.place))}"
        watch = subprocess.Popen(["sh", "-c", thaw], stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            _do("fsfreeze", "-f", self.place)
            yield
        finally:
            subprocess.run(["fsfreeze", "-u", str(self.place)], check=False, capture_output=True)
            os.killpg(watch.pid, signal.SIGKILL)
            watch.wait()

    def __enter__(self) -> Self:
        self.place.mkdir(parents=True, exist_ok=True)
        _do("mount", "-o", "loop", self.image, self.place)
        return self

    def __exit__(self, *_: object) -> None:
        _do("umount", "-l", self.place)


def new_disk(folder: Path, size: str = "64M") -> Disk:
    """A disk, not yet mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "disk.img"
    _do("truncate", "-s", size, image)
    _do("mkfs.ext4", "-q", image)
    return Disk(image, folder / "disk")
