"""The database as the services see it: reads, writes, and one error when it cannot be reached.

SQLAlchemy is imported when a store is opened, so that what only names a `Store` starts quickly. Every use counts towards
the request's `db_ms` and `db_calls`; one that fails or takes long leaves a `dependency_call` event.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pipeline.context import measure
from server.dependencies import Outcome, tell_of_call
from server.errors import ServiceUnavailable

from . import sqlite

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

SLOW_MS = 500.0
"""A use of the database that takes longer than this many milliseconds is worth an event."""

Row = Sequence[Any]
Fetch = Callable[[str, Sequence[Any]], Awaitable[Sequence[Row]]]


class StoreUnavailable(ServiceUnavailable):
    """The database is locked, full, damaged, gone or out of connections; the cause is chained."""

    def __init__(self) -> None:
        super().__init__(
            "The documents cannot be reached right now. Please try again in a moment.", retry_after=5
        )


class Store:
    """One open database.

    `url` is SQLAlchemy's, such as ``sqlite+aiosqlite:///var/chatkit.db``. Nothing is connected before the first use. With
    `create` an SQLite file and its folder are made when they are missing, without it their absence makes the store
    unavailable. Raises ``ValueError`` for a database of another kind.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        if not url.startswith("sqlite+aiosqlite:"):
            raise ValueError("the database must be SQLite, as sqlite+aiosqlite:///path/to/file.db")
        from sqlalchemy import event
        from sqlalchemy.ext.asyncio import create_async_engine

        self._file = sqlite.database_file(url)
        if create and self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_async_engine(url if create else sqlite.only_if_there(url), **sqlite.options())
        event.listen(self.engine.sync_engine, "connect", sqlite.on_connect)
        event.listen(self.engine.sync_engine, "begin", sqlite.on_begin)
        self._writer = self.engine.execution_options(writes=True)

    @asynccontextmanager
    async def reading(self, operation: str) -> "AsyncIterator[AsyncConnection]":
        """A connection to read with; its statements see no common snapshot. Raises ``StoreUnavailable``."""
        async with self._watched(operation), self.engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def fetching(self, operation: str) -> AsyncIterator[Fetch]:
        """A function that runs one query in the database's own SQL and returns all its rows, in one hop to the driver's thread.

        The statements see no common snapshot. Raises ``StoreUnavailable``.
        """
        async with self._watched(operation), self.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            yield driver.execute_fetchall

    @asynccontextmanager
    async def writing(self, operation: str) -> "AsyncIterator[AsyncConnection]":
        """One transaction: committed when the block ends, undone when it raises. Raises ``StoreUnavailable``."""
        async with self._watched(operation), self._writer.begin() as connection:
            yield connection

    def exists(self) -> bool:
        """Whether there is a database at all, of whatever shape."""
        return sqlite.is_there(self._file)

    async def ping(self) -> None:
        """Reads the database's first page; raises ``StoreUnavailable`` when it cannot be used."""
        async with self.fetching("ping") as fetch:
            await fetch("PRAGMA schema_version", ())
        if not self.exists():
            tell_of_call("database", "ping", "failed", status="FILE_GONE")
            raise StoreUnavailable

    async def close(self) -> None:
        """Let every connection go. SQLite's log is written back into its file with the last one."""
        await self.engine.dispose()

    @asynccontextmanager
    async def _watched(self, operation: str) -> AsyncIterator[None]:
        """Count and time one use of the database, and name its failure."""
        started = perf_counter()
        status = None
        try:
            yield
        except Exception as error:
            status = _failure(error)
            if status is None:
                raise
            raise StoreUnavailable from error
        finally:
            duration_ms = round((perf_counter() - started) * 1e3, 3)
            measure(db_ms=duration_ms, db_calls=1)
            if status is not None or duration_ms > SLOW_MS:
                outcome: Outcome = "failed" if status else "slow"
                tell_of_call("database", operation, outcome, status=status, duration_ms=duration_ms)


def _failure(error: Exception) -> str | None:
    """What the log says of `error` when it means "not now"; None when it is anything else, such as a bug."""
    from sqlalchemy.exc import TimeoutError as NoConnectionFree

    return "POOL_EXHAUSTED" if isinstance(error, NoConnectionFree) else sqlite.failure(error)
