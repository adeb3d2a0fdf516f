"""What is true of SQLite only: how a connection is opened, how a transaction begins, and what its errors mean.

Write-ahead logging lets readers go on while one writer writes. With `synchronous=NORMAL` nothing damages the file, and a power cut may take
the last commits along; with `FULL` a commit is on the disk when it returns (https://sqlite.org/pragma.html#pragma_synchronous).
"""

import os
import sqlite3
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    from sqlalchemy import Engine, Insert, Table

KIND: Final[Literal["sqlite", "postgresql"]] = "sqlite"

BUSY_MS = 5_000
"""How long a statement waits for another process's write before it gives up."""

READING: Mapping[str, Any] = {}
WRITING: Mapping[str, Any] = {"writes": "NORMAL"}
DURABLE: Mapping[str, Any] = {"writes": "FULL"}
ONE_WRITER: str = "SQLITE_BUSY"

PING: str = "PRAGMA schema_version"
IS_MIGRATED: str = "SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'"
TAKE_TURNS: str = "SELECT 1"  # every writer waits for any other as it begins

_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
)

# The primary result codes (https://sqlite.org/rescode.html) that say "the database cannot be used now", not "this is a bug".
_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


@lru_cache(maxsize=8)
def database_file(url: str) -> Path | None:
    """The file that an SQLite `url` names; None for a database in memory."""
    name = url.partition("?")[0].partition(":///")[2]
    return Path(name) if name and name != ":memory:" else None


def opens(url: str) -> bool:
    """See `Dialect`."""
    return url.startswith("sqlite+aiosqlite:")


def problem(url: str) -> tuple[str, str] | None:
    """See `Dialect`."""
    if url.startswith("sqlite+aiosqlite:///"):
        return None
    return "is not an address of an SQLite database", "Use sqlite+aiosqlite:///path/to/chatkit.db"


def arguments(url: str, *, create: bool, connections: int, patient: bool) -> tuple[str, dict[str, Any]]:
    """See `Dialect`. The driver must not begin transactions on its own account.

    Each connection is a thread. Who waits longer than five seconds for one is told so. Nothing is rolled back on return: readers begin
    no transaction, and `Store.writing` ends its own whatever happens.
    """
    from .sqlite_connection import connect

    del patient  # how long a statement waits for a lock is the same for all
    file = database_file(url)
    if create and file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    kept = (connections + 1) // 2
    return url if create else only_if_there(url), {
        "pool_size": kept,
        "max_overflow": connections - kept,
        "pool_timeout": 5,
        "pool_use_lifo": True,
        "pool_reset_on_return": None,
        "connect_args": {
            "isolation_level": None,
            "timeout": BUSY_MS / 1_000,
            "async_creator_fn": connect,
        },
    }


def prepare(engine: "Engine") -> None:
    """See `Dialect`."""
    from sqlalchemy import event

    event.listen(engine, "do_connect", partial(_made_private, database_file(str(engine.url))))
    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)


def fetch(connection: Any) -> Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]:
    """See `Dialect`: one hop to the driver's thread."""
    fetched: Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]] = connection.execute_fetchall
    return fetched


def only_if_there(url: str) -> str:
    """The same database, opened only if there is one: SQLite would make an empty one in the place of one that has gone."""
    file = database_file(url)
    return url if file is None else f"sqlite+aiosqlite:///file:{quote(str(file))}?mode=rw&uri=true"


def _made_private(file: Path | None, *_: object) -> None:
    """Before the first connection makes the file, whose copies beside it have its mode: it holds addresses and conversations."""
    if file is not None and not str(file).startswith("file:"):
        with suppress(OSError):  # Whatever is wrong with it is told when it is opened.
            file.touch(0o600)


def on_connect(connection: Any, _record: object) -> None:
    """Prepare a new connection; `connection` is SQLAlchemy's adapter of a driver's one."""
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def on_begin(connection: Any) -> None:
    """Begin a transaction, which the driver in `isolation_level=None` leaves to us; readers need none.

    A writer takes the write lock at once: two deferred transactions that read and then write cannot both go on, and
    SQLite tells one of them only when its work is done.
    """
    level = connection.get_execution_options().get("writes")
    if level is None:
        return
    if connection.info.get("synchronous", "NORMAL") != level:
        connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
        connection.info["synchronous"] = level
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def upsert(table: "Table", row: Mapping[str, Any]) -> "Insert":
    """See `Dialect`."""
    from sqlalchemy.dialects.sqlite import insert

    keys = [column.name for column in table.primary_key]
    rest = {name: value for name, value in row.items() if name not in keys}
    return insert(table).values(**row).on_conflict_do_update(index_elements=keys, set_=rest)


def failure(error: BaseException) -> str | None:
    """See `Dialect`: the name of SQLite's result code, such as ``SQLITE_BUSY``."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, sqlite3.Error):
            code = getattr(seen, "sqlite_errorcode", None)
            # The low byte of an extended code is its primary code.
            if isinstance(code, int) and code & 0xFF in _UNAVAILABLE:
                return str(seen.sqlite_errorname)
        seen = getattr(seen, "orig", None) or seen.__cause__
    return None


def lies_at(url: str) -> Hashable:
    """See `Dialect`: which file it is. SQLite itself goes on with one that was deleted or replaced."""
    file = database_file(url)
    if file is None:
        return ":memory:"
    try:
        found = os.stat(file)  # noqa: PTH116 - asked before each use, and twice as quick
    except OSError:
        return None
    return found.st_dev, found.st_ino
