"""A connection on which a statement costs one hop to the driver's thread.

aiosqlite runs every call in a thread of the connection's own, and SQLAlchemy makes four for a statement: a cursor, the statement, its rows, and
the cursor's end. A hop there and back takes longer than most statements do, so here a cursor goes there once, with all four.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

import aiosqlite

_CHUNK = 64
"""aiosqlite's own default; nothing here reads in chunks."""


class _Ran(NamedTuple):
    """What a statement left: see https://docs.python.org/3/library/sqlite3.html#cursor-objects."""

    description: Any
    rowcount: int
    lastrowid: int | None
    rows: Sequence[Any]


_NOT_YET = _Ran(None, -1, None, ())


class Connection(aiosqlite.Connection):
    """An aiosqlite connection whose cursors are `Cursor`."""

    def cursor(self) -> "Cursor":  # type: ignore[override]
        """A cursor, without a hop."""
        return Cursor(self)

    async def run(self, statement: Callable[..., _Ran], *arguments: Any) -> _Ran:
        """Run `statement` in the connection's thread."""
        ran: _Ran = await self._execute(statement, self._conn, *arguments)  # type: ignore[no-untyped-call]
        return ran


class Cursor:
    """What SQLAlchemy asks of an asyncio driver's cursor (`sqlalchemy.connectors.asyncio.AsyncIODBAPICursor`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ran = _NOT_YET
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is left to close."""

    @property
    def description(self) -> Any:
        """The columns of the rows; None when the statement has none."""
        return self._ran.description

    @property
    def rowcount(self) -> int:
        """How many rows were changed; -1 for a statement that changes none."""
        return self._ran.rowcount

    @property
    def lastrowid(self) -> int | None:
        """The row that was inserted last."""
        return self._ran.lastrowid

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Self:
        """Run `sql`."""
        self._ran = await self._connection.run(_run, sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> Self:
        """Run `sql` once for each of `parameters`."""
        self._ran = await self._connection.run(_run_many, sql, parameters)
        return self

    async def fetchall(self) -> Sequence[Any]:
        """All rows, which are here already."""
        return self._ran.rows

    async def close(self) -> None:
        """Nothing is left to close."""


def connect(database: str, **options: Any) -> Connection:
    """A connection to be awaited; `options` are those of `sqlite3.connect`."""
    connection = Connection(lambda: sqlite3.connect(database, **options), _CHUNK)
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does with aiosqlite's own: the process need not wait for it
    return connection


def _run(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> _Ran:
    cursor = connection.execute(sql, parameters)
    rows = cursor.fetchall() if cursor.description is not None else ()
    ran = _Ran(cursor.description, cursor.rowcount, cursor.lastrowid, rows)
    cursor.close()
    return ran


def _run_many(connection: sqlite3.Connection, sql: str, parameters: Iterable[Sequence[Any]]) -> _Ran:
    cursor = connection.executemany(sql, parameters)
    ran = _Ran(None, cursor.rowcount, cursor.lastrowid, ())
    cursor.close()
    return ran
