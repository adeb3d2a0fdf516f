"""A copy of an SQLite database as it is at one moment, made while others read and write.

The copy stands in one transaction that reads, beside which writers go on (https://sqlite.org/backup.html); a plain copy of the file would
miss what is still in the write-ahead log. It bears its name only once it is whole, flushed, and was read again.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter
from urllib.parse import quote

from pipeline.catalogue import Event, Field, declare
from pipeline.flush import flush
from pipeline.log import log
from server import terminal

declare(
    [
        Event(
            "database_backed_up",
            "INFO",
            "`python -m server backup` made a copy of the database.",
            {
                "path": Field("the copy", free=True),
                "bytes": Field("its size"),
                "duration_ms": Field("milliseconds in all"),
            },
        )
    ]
)

PAGES = 1_024
"""How many pages are copied between two looks at the progress: 4 MiB."""


class Damaged(Exception):
    """The database is not what SQLite wrote: a copy of it would be no help."""


def back_up(source: Path, target: Path, on_progress: Callable[[int, int], None]) -> int:
    """Copy the database at `source` to `target`, which nobody but its owner may read; how many bytes it has.

    `on_progress` hears how many pages are done, of how many. Raises ``FileExistsError`` for a `target` that is there already,
    ``Damaged``, ``sqlite3.Error`` for a database that cannot be read, and ``OSError`` (or ``sqlite3.Error``) for a copy that cannot be
    written. In the place of the copy is then what was there before: nothing.
    """
    began = perf_counter()
    if target.exists():
        raise FileExistsError(f"{target} exists")
    workshop = target.with_name(f".{target.name}.unfinished")
    _remove(workshop)  # of one that was killed
    try:
        workshop.mkdir(0o700)
        unfinished = workshop / target.name
        unfinished.touch(0o600)
        _copy(source, unfinished, on_progress)
        flush(unfinished)
        unfinished.rename(target)
        flush(target.parent)
    finally:
        _remove(workshop)
    size = target.stat().st_size
    log.info(
        "database_backed_up",
        path=str(target),
        bytes=size,
        duration_ms=round((perf_counter() - began) * 1e3, 3),
    )
    return size


@contextmanager
def showing(source: Path, target: Path) -> Iterator[Callable[[int, int], None]]:
    """Within the block, what `back_up` is to call as it goes on: a bar and a sentence on a terminal."""
    if not terminal.is_watched():
        yield lambda _done, _total: None
        return
    from rich.progress import TaskProgressColumn

    with terminal.bar(TaskProgressColumn()) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
    told = f"  Backed up: {source} to {target}, {target.stat().st_size / 1e6:.1f} MB."
    terminal.console().print(told, markup=False, soft_wrap=True)


def _copy(source: Path, target: Path, on_progress: Callable[[int, int], None]) -> None:
    with (
        closing(
            sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True, isolation_level=None)
        ) as read,
        closing(sqlite3.connect(target, isolation_level=None)) as written,
    ):
        # What is not finished is thrown away, so nothing has to be undone, and one flush is enough.
        written.execute("PRAGMA journal_mode = OFF")
        written.execute("PRAGMA synchronous = OFF")
        # Without a transaction of its own each step would be one, and a write by others would begin the copy anew.
        try:
            read.execute("BEGIN")
            read.execute("SELECT 1 FROM sqlite_schema").fetchall()
            read.backup(
                written, pages=PAGES, progress=lambda _, left, total: on_progress(total - left, total)
            )
            (found,) = written.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise Damaged(str(error)) from error
            raise
        if found != "ok":
            raise Damaged(found)
        written.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, with nothing beside it


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
