"""The database as the services see it: reads, writes, and one error when it cannot be reached.

SQLAlchemy is imported when a store is opened, so that what only names a `Store` starts quickly. Every use counts towards
the request's `db_ms` and `db_calls`; one that fails or takes long leaves a `dependency_call` event.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from pipeline.context import measure
from server.dependencies import Outcome, tell_of_call
from server.errors import ServiceUnavailable

from . import texts
from .dialects import Fetch, dialect_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

SLOW_MS = 500.0
"""A use of the database that takes longer than this many milliseconds is worth an event."""

TURN_SECONDS = 5.0
"""How long a write waits for those of this process that came before it, where the database takes one at a time."""

CONNECTIONS = 8
"""How many connections a process opens at most, unless it is told otherwise."""


class StoreUnavailable(ServiceUnavailable):
    """The database is locked, full, damaged, gone or out of connections, or does not answer; the cause is chained."""

    def __init__(self) -> None:
        super().__init__("This is not possible right now. Please try again in a moment.", retry_after=5)


class _NoTurn(Exception):
    """Those who came before have written for too long."""


class _Elsewhere(Exception):
    """What the connections have open does not lie where it was opened any more."""

    def __init__(self, status: str) -> None:
        self.status = status


class Store:
    """One open database.

    `url` is one of the forms that `dialects` knows, such as ``sqlite+aiosqlite:///var/chatkit.db`` or
    ``postgresql://role:password@host/database``. Nothing is connected before the first use, and never more than `connections` at a time.
    With `create` an SQLite file and its folder are made when they are missing, without it their absence makes the store
    unavailable. A `patient` one gives long statements their time: for commands that somebody waits for. Raises ``ValueError`` for a
    database of another kind.
    """

    def __init__(
        self, url: str, *, create: bool = True, connections: int = CONNECTIONS, patient: bool = False
    ) -> None:
        self.dialect = dialect_of(url)
        from sqlalchemy import event
        from sqlalchemy.ext.asyncio import create_async_engine

        self._url = url
        address, options = self.dialect.arguments(
            url, create=create, connections=connections, patient=patient
        )
        # What people wrote is in the parameters, and exceptions are logged.
        self.engine = create_async_engine(address, hide_parameters=True, **options)
        self.dialect.prepare(self.engine.sync_engine)
        texts.install(self.engine.sync_engine)
        self._opened: Hashable = None
        event.listen(self.engine.sync_engine, "connect", self._remember)
        self._patient = patient
        self._reader = self.engine.execution_options(**self.dialect.READING)
        self._writer = self.engine.execution_options(**self.dialect.WRITING)
        self._keeper = self.engine.execution_options(**self.dialect.DURABLE)
        self._turns = asyncio.Lock() if self.dialect.ONE_WRITER else None

    @asynccontextmanager
    async def reading(self, operation: str) -> "AsyncIterator[AsyncConnection]":
        """A connection to read with; its statements see no common snapshot. Raises ``StoreUnavailable``."""
        async with self._watched(operation), self._reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def fetching(self, operation: str) -> AsyncIterator[Fetch]:
        """A function that runs one query in the database's own SQL and returns all its rows, by the shortest way to the driver.

        Parameters are `?` in SQLite and `$1` in PostgreSQL, and are handed over as they are. The statements see no common snapshot.
        Raises ``StoreUnavailable``.
        """
        async with self._watched(operation), self._reader.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            yield self.dialect.fetch(driver)

    @asynccontextmanager
    async def writing(self, operation: str, *, durable: bool = False) -> "AsyncIterator[AsyncConnection]":
        """One transaction: committed when the block ends, undone when it raises. Raises ``StoreUnavailable``.

        What was committed outlives the process. Where that is `durable` it outlives a power cut, too: for what somebody was told is so, and
        would not ask for again. That costs a flush, for which others who write wait as well.
        """
        writer = self._keeper if durable else self._writer
        async with self._watched(operation), self._turn(), writer.begin() as connection:
            yield connection

    def exists(self) -> bool:
        """Whether there is a database at all, of whatever shape."""
        return self.dialect.lies_at(self._url) is not None

    async def ping(self) -> None:
        """Asks the database for next to nothing; raises ``StoreUnavailable`` when it cannot be used."""
        async with self.fetching("ping") as fetch:
            await fetch(self.dialect.PING, ())

    async def close(self) -> None:
        """Let every connection go. SQLite's log is written back into its file with the last one."""
        await self.engine.dispose()
        self._opened = None

    def _remember(self, *_: object) -> None:
        if self._opened is None:
            self._opened = self.dialect.lies_at(self._url)

    def _look(self) -> None:
        """Raises ``_Elsewhere`` when the database was taken away, or another one put in its place: what went on being written would be lost.

        A connection to the new one, beside those to the old one, could damage it (https://sqlite.org/howtocorrupt.html, section 4).
        """
        if self._opened is not None and (there := self.dialect.lies_at(self._url)) != self._opened:
            raise _Elsewhere("FILE_GONE" if there is None else "FILE_REPLACED")

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait in order until one may write: SQLite lets one in, and has the others ask again and again, whoever came first.

        Of other processes nothing is known here: for them the database itself makes one wait.
        """
        if self._turns is None:
            yield
            return
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError as error:
            raise _NoTurn from error
        try:
            yield
        finally:
            self._turns.release()

    @asynccontextmanager
    async def _watched(self, operation: str) -> AsyncIterator[None]:
        """Count and time one use of the database, and name its failure."""
        started = perf_counter()
        status = None
        try:
            self._look()
            yield
        except Exception as error:
            status = self._failure(error)
            if status is None:
                raise
            raise StoreUnavailable from error
        finally:
            duration_ms = round((perf_counter() - started) * 1e3, 3)
            measure(db_ms=duration_ms, db_calls=1)
            # What somebody waits for at a terminal may take its time.
            if status is not None or (duration_ms > SLOW_MS and not self._patient):
                outcome: Outcome = "failed" if status else "slow"
                tell_of_call("database", operation, outcome, status=status, duration_ms=duration_ms)

    def _failure(self, error: Exception) -> str | None:
        """What the log says of `error` when it means "not now"; None when it is anything else, such as a bug."""
        from sqlalchemy.exc import TimeoutError as NoConnectionFree

        if isinstance(error, _NoTurn):
            return self.dialect.ONE_WRITER
        if isinstance(error, _Elsewhere):
            return error.status
        return "POOL_EXHAUSTED" if isinstance(error, NoConnectionFree) else self.dialect.failure(error)
