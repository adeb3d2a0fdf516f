"""The newest events, and with `-f` those that come, over rotations and restarts."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from pipeline.catalogue import LEVELS
from pipeline.segments import ARCHIVED, all_segments, boot_of, live_segments

from .reader import Event, Line, backwards, once, parsed, told, whole_bytes
from .trace import STYLES, pairs

_POLL_SECONDS = 0.2
Wanted = Callable[[Event], bool]


def wanted(level: str, event: str | None, where: list[str]) -> Wanted:
    """A test of events: at least `level`, of that name, with each `name=value` of `where`."""
    least = LEVELS[level]
    conditions = [condition.partition("=")[::2] for condition in where]

    def test(candidate: Event) -> bool:
        if LEVELS.get(str(candidate.get("level")), 0) < least:
            return False
        if event not in {None, candidate.get("event")}:
            return False
        return all(_text(candidate.get(name)) == value for name, value in conditions)

    return test


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def follow(folder: Path, at: dict[Path, int]) -> Iterator[Line | None]:
    """Lines that come after the offsets `at`, for ever; None whenever there are none just now."""
    while True:
        for segment in live_segments(folder):
            start = at.get(segment, 0)
            try:
                with open(segment, "rb") as file:
                    file.seek(start)
                    for raw in file:
                        if not raw.endswith(b"\n"):
                            break  # It is still being written.
                        yield parsed(segment, start, raw)
                        start += len(raw)
            except FileNotFoundError:
                pass
            at[segment] = start
        yield None


def newest(folder: Path, count: int, test: Wanted, at: dict[Path, int] | None = None) -> list[Line]:
    """The last `count` lines that are wanted, and the faults among them, oldest first. Reads no more than it takes.

    With `at`, lines of live segments from those offsets on are left for `follow`.
    """
    wanted = (
        line
        for line in once(newest_first(folder))
        if (line.event is None or test(line.event))
        and (at is None or line.segment.suffix == ARCHIVED or line.offset < at.get(line.segment, 0))
    )
    return list(islice(wanted, count))[::-1]


def newest_first(folder: Path) -> Iterator[Line]:
    """Every line of the log, the newest first. Each process start wrote its own segments, and several may have written at once."""
    starts: dict[str, list[Path]] = {}
    for segment in reversed(all_segments(folder)):
        starts.setdefault(boot_of(segment), []).append(segment)
    # Segments of a start are opened only when nothing that is open can be newer than what they may hold.
    waiting = sorted(starts.values(), key=lambda segments: _last_written(segments[0]))
    opened: list[tuple[str, Line, Iterator[Line]]] = []
    while waiting or opened:
        top = max(range(len(opened)), key=lambda number: opened[number][0], default=None)
        if waiting and (top is None or _last_written(waiting[-1][0]) >= opened[top][0]):
            stream, time_before = _lines_backwards(waiting.pop()), "9"
        else:
            assert top is not None
            time_before, line, stream = opened.pop(top)
            yield line
        if (following := next(stream, None)) is not None:
            # What has no time of its own, a torn line for instance, stays beside its neighbour.
            stamp = (following.event or {}).get("timestamp")
            opened.append((stamp if isinstance(stamp, str) else time_before, following, stream))


def _lines_backwards(segments: list[Path]) -> Iterator[Line]:
    for segment in segments:
        yield from backwards(segment)


def _last_written(segment: Path) -> str:
    """As a timestamp: no line in it is newer. One that has just been archived is as good as new."""
    try:
        seconds = segment.stat().st_mtime
    except OSError:
        return "9"
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds + 1))


def run(folder: Path, *, count: int, following: bool, test: Wanted, words: str | None = None) -> int:
    """The `tail` command; `words` are those of `otel` or `ecs` instead of our own."""
    at = {segment: whole_bytes(segment) for segment in live_segments(folder)} if following else None
    if at is None and not all_segments(folder):
        print(f"There is no log in {folder}.", file=sys.stderr)
        return 1
    show = _shower(words)
    for line in newest(folder, count, test, at):
        show(line)
    for coming in follow(folder, at) if at is not None else ():
        if coming is None:
            sys.stdout.flush()
            time.sleep(_POLL_SECONDS)
        elif coming.event is None or test(coming.event):
            show(coming)
    return 0


def _shower(words: str | None) -> Callable[[Line], None]:
    """How to show a line: drawn on a terminal, as it stands into a pipe, or in the words of others."""
    if words is not None or not sys.stdout.isatty():
        translate = _translator(words)

        def write(line: Line) -> None:
            if line.event is None:
                print(told(line), file=sys.stderr)
            else:
                sys.stdout.buffer.write((line.raw if translate is None else translate(line.event)) + b"\n")

        return write
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def draw(line: Line) -> None:
        if line.event is None:
            console.print(Text(told(line), style="bold red"))
            return
        event = line.event
        level = str(event.get("level", ""))
        text = Text(f"{str(event.get('timestamp', ''))[11:23]} ", style="dim")
        text.append(f"{level:<8}", style=STYLES.get(level, "")).append(
            str(event.get("event", "")), style="bold"
        )
        text.append(f"  {pairs(event)}")
        if event.get("request_id"):
            text.append(f"  {event['request_id']}", style="cyan")
        console.print(text, soft_wrap=True)

    return draw


def _translator(words: str | None) -> Callable[[Event], bytes] | None:
    if words is None:
        return None
    from . import mapping

    translate = {"otel": mapping.to_otel, "ecs": mapping.to_ecs}[words]
    return lambda event: json.dumps(translate(event), separators=(",", ":")).encode()
