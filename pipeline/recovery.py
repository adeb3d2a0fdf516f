"""What a killed process had accepted and not written, brought into the log exactly once.

Its ring still holds every line that was not known to be flushed. Some of them may be in the log already: the process may have died
between a write and the moment at which it released the lines; and so may a start that was recovering them. So the log is asked
first: the end of what the dead start wrote, and the beginning of what each later start recovered.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .catalogue import PLANS
from .figures.windows import Windows
from .record import marked
from .ring import Ring
from .segments import SUFFIX, live_segments

_RECOVERED = b'"recovered":true'
_OPENED = b'"event":"segment_opened"'


class Recovered(NamedTuple):
    """What was found in a ring."""

    lines: bytes
    """The lines that the log does not have, in order, each marked as recovered."""
    missing: int
    """How many they are."""
    damaged: int
    """How many more there were that cannot be read."""
    events: list[tuple[int, dict[str, Any]]]
    """Every readable line with its number in the ring, also those that the log has."""


def recover(ring: Ring, folder: Path) -> Recovered:
    """What `ring` holds and the log in `folder` does not."""
    found: list[bytes] = []
    events: list[tuple[int, dict[str, Any]]] = []
    damaged = 0
    for number, _, line in ring.held():
        event = None if line is None else _parsed(line)
        if line is None or event is None:
            damaged += 1
        else:
            found.append(line)
            events.append((number, event))
    boots = {str(event.get("boot")) for _, event in events}
    there = logged(folder, boots, 2 * ring.size) if events else set()
    missing = [
        marked(line)
        for line, (_, event) in zip(found, events, strict=True)
        if (event.get("boot"), event.get("seq")) not in there
    ]
    return Recovered(b"".join(missing), len(missing), damaged, events)


def count_recovered(windows: Windows, found: Recovered, head: int) -> None:
    """Count the responses that a dead process had accepted and not counted; then all up to the line `head` are."""
    for number, event in found.events:
        plan = PLANS.get(str(event.get("event")))
        if number <= windows.counted or plan is None or plan.observe is None:
            continue
        with contextlib.suppress(Exception):  # An event of another version, without what is asked of it.
            if (observation := plan.observe(event)) is not None:
                route, duration_ms, error, limited = observation
                windows.observe((str(route), float(duration_ms), bool(error), bool(limited)))
    windows.commit(head)


def logged(folder: Path, boots: Iterable[str], enough: int) -> set[tuple[Any, Any]]:
    """(`boot`, `seq`) of the last lines that the starts `boots` wrote, `enough` bytes of each, and of what others recovered of them."""
    there: set[tuple[Any, Any]] = set()
    left = dict.fromkeys(boots, enough)
    for segment in reversed(live_segments(folder)):
        boot = segment.name.removesuffix(SUFFIX).rsplit("-", 2)[1]
        # One may be archived meanwhile, by another worker's keeper: at worst its lines are told again, which readers drop.
        with contextlib.suppress(FileNotFoundError):
            if left.get(boot, 0) > 0:
                lines = _last_lines(segment, left[boot])
                left[boot] -= segment.stat().st_size
            else:
                lines = _recovered_lines(segment)
            for line in lines:
                if (event := _parsed(line)) is not None:
                    there.add((event.get("boot"), event.get("seq")))
    return there


def _last_lines(segment: Path, enough: int) -> Iterator[bytes]:
    with open(segment, "rb") as file:
        file.seek(max(0, segment.stat().st_size - enough))
        yield from file


def _recovered_lines(segment: Path) -> Iterator[bytes]:
    with open(segment, "rb") as file:
        for line in file:
            if _RECOVERED in line:
                yield line
            elif _OPENED not in line:
                return


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a whole line."""
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
