"""Everything about one request, in order: what happened, when, and where the time went."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

from pipeline.catalogue import RESERVED

from .reader import Event, Line, place_of, request_lines, told

# What every event carries and a reader of one request need not see on each line.
_COMMON = RESERVED | {"padding"}
# The parts of a request whose time its canonical event tells, in the order in which they happen.
_PARTS = (
    ("db_ms", "database"),
    ("retrieval_ms", "retrieval"),
    ("embedding_ms", "embedding"),
    ("generation_ms", "generation"),
    ("llm_ms", "model"),
)


class Found(NamedTuple):
    """What the log has of a request: its lines in order, and what was wrong where they were looked for."""

    lines: list[Line]
    faults: list[Line]


def find(folder: Path, request_id: str) -> Found:
    """Look for a request in the log in `folder`; the lines are ordered by (`boot`, `seq`) within their starts."""
    placed: dict[tuple[str, int], Line] = {}
    faults: dict[tuple[Path, int], Line] = {}
    for line in request_lines(folder, request_id):
        if line.event is None:
            faults.setdefault((line.segment, line.offset), line)
        else:
            placed.setdefault(place_of(line) or ("", line.offset), line)
    starts = {boot: number for number, (boot, _) in enumerate(placed)}
    ordered = sorted(placed, key=lambda place: (starts[place[0]], place[1]))
    return Found([placed[place] for place in ordered], list(faults.values()))


def show(events: Iterable[Event], out: IO[str]) -> None:
    """Draw the events of one request for a person."""
    from rich.console import Console
    from rich.text import Text

    found = list(events)
    console = Console(file=out, highlight=False)
    canonical = next((event for event in found if event.get("event") == "http_request"), None)
    console.print(_headline(found[0], canonical), soft_wrap=True)
    console.print()
    for event in found:
        line = Text(f"  {str(event.get('timestamp', ''))[11:23]}  ", style="dim")
        line.append(f"{event.get('level', ''):<8}", style=STYLES.get(str(event.get("level")), ""))
        line.append(str(event.get("event", "")), style="bold")
        line.append(f"  {pairs(event)}", style="default")
        console.print(line, soft_wrap=True)
        for frame in event.get("frames") or []:
            place = f"{frame.get('module')}:{frame.get('line')} in {frame.get('function')}"
            console.print(
                Text(
                    f"      {'→' if frame.get('ours') else ' '} {place}",
                    style="" if frame.get("ours") else "dim",
                )
            )
    if canonical is not None:
        console.print()
        for text in _bars(canonical):
            console.print(text)


STYLES = {"DEBUG": "dim", "INFO": "green", "WARNING": "yellow", "ERROR": "bold red"}


def pairs(event: Event) -> str:
    """An event's own fields as `name=value`, values as JSON unless they are plain words."""
    return " ".join(
        f"{name}={plain(value)}" for name, value in event.items() if name not in _COMMON | {"frames"}
    )


def plain(value: Any) -> str:
    """A value on one line, control characters escaped: what stands in a log must not steer a terminal."""
    import json

    if isinstance(value, str) and value.isprintable() and value and " " not in value and '"' not in value:
        return value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _headline(first: Event, canonical: Event | None) -> Any:
    from rich.text import Text

    text = Text()
    text.append(f"{first.get('request_id')}  ", style="bold")
    if canonical is None:
        return text.append(
            "has no http_request yet: it is being served, or the process died with it", style="yellow"
        )
    good = canonical.get("outcome") == "ok"
    text.append(f"{canonical.get('method')} {canonical.get('path')}  ", style="default")
    text.append(
        f"{canonical.get('status')} {canonical.get('outcome')}", style="green" if good else "bold red"
    )
    return text.append(f"  {canonical.get('duration_ms')} ms", style="default")


def _bars(canonical: Event) -> Iterable[Any]:
    """Where the time went, as bars of the whole."""
    from rich.text import Text

    whole = float(canonical.get("duration_ms") or 0)
    rows = [("in all", whole)]
    rows += [
        (label, float(canonical[name]))
        for name, label in _PARTS
        if isinstance(canonical.get(name), (int, float))
    ]
    for label, milliseconds in rows:
        width = round(40 * milliseconds / whole) if whole else 0
        yield Text(f"  {label:<11}{milliseconds:>10.2f} ms  ").append(
            "█" * min(40, max(1, width)), style="cyan"
        )


def run(folder: Path, request_id: str, *, as_json: bool) -> int:
    """The `trace` command: 0 when there is something, 1 when there is nothing."""
    found = find(folder, request_id)
    for line in found.faults:
        print(told(line), file=sys.stderr)
    if not found.lines:
        print(f"Nothing in {folder} has the ID {plain(request_id)}.", file=sys.stderr)
        return 1
    if as_json:
        for line in found.lines:  # As it stands in the log, where what could steer a terminal is escaped.
            sys.stdout.buffer.write(line.raw + b"\n")
    else:
        show([line.event for line in found.lines if line.event is not None], sys.stdout)
    return 0
