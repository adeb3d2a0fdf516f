"""Whose place is whose: each worker has a ring and a figures file by its number, and holds the ring's lock for as long as it lives.

A worker takes the first place that nobody has, so one that replaces a dead one finds what that left. Places beyond the number of
workers, from a time when there were more, are looked after by the first.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .catalogue import LEVELS
from .figures.windows import Windows
from .log import DURABLE, OWN
from .ring import Damaged, Ring, RingInUse

MAX_WORKERS = 64

SHARES = {
    LEVELS["DEBUG"]: 0.5,
    LEVELS["INFO"]: 0.85,
    LEVELS["WARNING"]: 0.93,
    LEVELS["ERROR"]: 0.97,
    DURABLE: 0.97,
    OWN: 1.0,
}
"""How much of the ring an event of each rank may find in use and still be taken."""


class Place(NamedTuple):
    """A worker's number, from 1, and what belongs to it."""

    worker: int
    ring: Ring
    windows: Windows

    def close(self) -> None:
        """Leave it to the next."""
        self.windows.close()
        self.ring.close()


def take_place(state: Path, ring_bytes: int) -> tuple[Place, list[tuple[str, str]]]:
    """The first place in the folder `state` that nobody has, and what had to be set aside there: (file, reason).

    Raises ``OSError``.
    """
    for worker in range(1, MAX_WORKERS + 1):
        path = _ring_file(state, worker)
        damaged: list[tuple[str, str]] = []
        try:
            aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
            try:
                ring = Ring(ring_bytes, SHARES, path, aside=aside)
            except Damaged as damage:
                damaged.append((aside.name, str(damage)))
                ring = Ring(ring_bytes, SHARES, path)
        except RingInUse:
            continue
        windows = _windows(state, worker)
        if windows.damaged is not None:
            damaged.append((windows.damaged.name, "its totals cannot be read"))
        # Numbers go on where the figures know them to be; another size waits until the ring holds nothing.
        if ring.head == ring.tail and (ring.size != ring_bytes or ring.head < windows.counted):
            ring.renew(ring_bytes, max(ring.head, windows.counted))
        return Place(worker, ring, windows), damaged
    raise OSError(f"all {MAX_WORKERS} places in {state} are taken")


def orphaned(state: Path, workers: int) -> list[Place]:
    """The places beyond the first `workers` in which somebody died and nobody is."""
    found = []
    for worker in range(workers + 1, MAX_WORKERS + 1):
        path = _ring_file(state, worker)
        if not path.exists():
            continue
        try:
            ring = Ring(0, SHARES, path)
        except (RingInUse, Damaged, OSError):
            continue  # One that is damaged is set aside by whoever takes the place again.
        if ring.owner is None:
            ring.close()
        else:
            found.append(Place(worker, ring, _windows(state, worker)))
    return found


def let_go(places: Iterable[Place]) -> None:
    """What they held is safe."""
    for place in places:
        place.ring.release(place.ring.head)
        place.ring.own(None)
        place.close()


def _ring_file(state: Path, worker: int) -> Path:
    return state / f"worker-{worker}.ring"


def _windows(state: Path, worker: int) -> Windows:
    return Windows(state / f"worker-{worker}.windows")
