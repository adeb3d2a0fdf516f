"""Protections of the log, each of which can be taken away: the tests' twins must then see what it protects from."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.losses import Losses
from pipeline.writing import stream
from pipeline.writing.progress import Progress
from pipeline.writing.reserve import Reserve


def reserve() -> None:
    """No room is held back on the disk."""
    Reserve.take = lambda self, beside=0: True  # type: ignore[method-assign]  # noqa: ARG005


def losses() -> None:
    """What there is no room for is not counted."""
    Losses.add = lambda self, rank, seq: None  # type: ignore[method-assign]  # noqa: ARG005


def retrying() -> None:
    """A write that fails counts as written."""
    write = stream.Segments.write

    async def careless(self: stream.Segments, part: memoryview) -> int:
        try:
            return await write(self, part)
        except OSError:
            return len(part)

    stream.Segments.write = careless  # type: ignore[method-assign]


def short_writes() -> None:
    """A write that took a part counts as whole."""
    write = stream.Segments.write

    async def careless(self: stream.Segments, part: memoryview) -> int:
        await write(self, part)
        return len(part)

    stream.Segments.write = careless  # type: ignore[method-assign]


def rewriting() -> None:
    """What a failed flush was to save is not written again."""
    Progress.begin_again = lambda self: None  # type: ignore[method-assign]  # noqa: ARG005


def looking() -> None:
    """Nobody looks whether the file that is written still has its name."""
    sync = stream._sync

    def trusting(file: int, path: Path, entry: int | None) -> None:
        with suppress(stream.SegmentGone):
            sync(file, path, entry)

    stream._sync = trusting


def postponing() -> None:
    """The present segment is closed before there is a next one."""
    begin = stream.Segments.begin

    async def hasty(self: stream.Segments, first_line: Callable[[int, str | None], bytes]) -> None:
        await self.close()
        await begin(self, first_line)

    stream.Segments.begin = hasty  # type: ignore[method-assign]


PROTECTIONS = {
    protection.__name__: protection
    for protection in (reserve, losses, retrying, short_writes, rewriting, looking, postponing)
}
