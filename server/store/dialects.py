"""The databases there are: each is a module that says what is true of it only, and all of them offer the same.

Whoever has a `Store` asks for nothing else, so that no other module has to know which database it is on.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from . import postgres, sqlite

if TYPE_CHECKING:
    from sqlalchemy import Engine, Insert, Table

Row = Sequence[Any]
Fetch = Callable[[str, Sequence[Any]], Awaitable[Sequence[Row]]]


class Dialect(Protocol):
    """One kind of database.

    Both pass `tests/contract/test_store.py`.
    """

    KIND: Literal["sqlite", "postgresql"]

    READING: Mapping[str, Any]
    """Execution options of a connection that reads: its statements are no transaction."""
    WRITING: Mapping[str, Any]
    """Execution options of a connection that writes: its statements are one transaction."""
    DURABLE: Mapping[str, Any]
    """The same, and what it commits outlives a power cut."""

    ONE_WRITER: str
    """Where only one can write at a time, the code that says "others write" (see `failure`); empty where many can."""

    PING: str
    """A statement that succeeds when the database can be used, and costs next to nothing."""
    IS_MIGRATED: str
    """A statement that has a row when Alembic has ever been here."""
    TAKE_TURNS: str
    """A statement by which a transaction that migrates waits for any other that does."""

    def opens(self, url: str) -> bool:
        """Whether `url` names a database of this kind."""

    def problem(self, url: str) -> tuple[str, str] | None:
        """What is wrong with `url`, as far as can be told without connecting, and what to do; never a part of it."""

    def arguments(
        self, url: str, *, create: bool, connections: int, patient: bool
    ) -> tuple[str, dict[str, Any]]:
        """What `create_async_engine` is to be called with."""

    def prepare(self, engine: "Engine") -> None:
        """Listen to what happens to the connections of `engine`."""

    def fetch(self, connection: Any) -> Fetch:
        """A function that runs one query in the database's own SQL on the driver's `connection` and returns all its rows."""

    def upsert(self, table: "Table", row: Mapping[str, Any]) -> "Insert":
        """A statement that inserts `row`, or gives the row that has its primary key these values."""

    def failure(self, error: BaseException) -> str | None:
        """The database's own code for `error` when it means "not now"; None when it is anything else, such as a bug."""

    def lies_at(self, url: str) -> Hashable:
        """What tells the database at `url` from another that is put in its place, as far as is known without connecting; None for none."""


_DIALECTS: Sequence[Dialect] = (sqlite, postgres)


def dialect_of(url: str) -> Dialect:
    """The kind of database that `url` names. Raises ``ValueError``, without a part of it."""
    for dialect in _DIALECTS:
        if dialect.opens(url):
            return dialect
    raise ValueError("the database must be SQLite or PostgreSQL")


def problem(url: str) -> tuple[str, str] | None:
    """What is wrong with `url` as the address of a database, and what to do; never a part of it. None for a good one."""
    try:
        return dialect_of(url).problem(url)
    except ValueError:
        return (
            "is not one this version can open",
            "Use sqlite+aiosqlite:///path/to/chatkit.db or postgresql://role:password@host/database",
        )
