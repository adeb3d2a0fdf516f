"""What is true of PostgreSQL only: how a connection is opened and bounded, and what its errors mean.

The address is libpq's, as asyncpg takes it: ``postgresql://role:password@host:5432/database?sslmode=require``; ``postgres://`` and
SQLAlchemy's ``postgresql+asyncpg://`` are the same. SQLAlchemy never gets to see it, so no error or log of its own can hold the
password.

Everything has an end: connecting, waiting for a lock, a statement (by the server's clock), and its answer (by ours, for a server that
does not answer at all). A connection that the server has closed is noticed when it is taken from the pool, which costs
nothing, so a restart of PostgreSQL needs none of ours.
"""

import asyncio
import importlib.util
import re
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from .postgres_errors import Unreachable, status_of, unreachable

if TYPE_CHECKING:
    import asyncpg
    from sqlalchemy import Engine, Insert, Table
    from sqlalchemy.engine import ExceptionContext

KIND: Final[Literal["sqlite", "postgresql"]] = "postgresql"

CONNECT_SECONDS = 3.0
LOCK_SECONDS = 4
"""How long a statement waits for another transaction."""
STATEMENT_SECONDS = 5
"""How long a statement may take; the server ends it."""
PATIENT_SECONDS = 600
"""The same two, for commands that somebody waits for at a terminal."""
SILENCE_SECONDS = 1
"""How much longer an answer may take than its statement; after that the connection is given up."""
IDLE_SECONDS = 30
"""How long a transaction may do nothing; the server ends it. No part of ChatKit waits for anything else within one."""

READING: Mapping[str, Any] = {"isolation_level": "AUTOCOMMIT"}
WRITING: Mapping[str, Any] = {}
DURABLE: Mapping[str, Any] = {}  # as any commit is, unless the server's synchronous_commit was turned off
ONE_WRITER: str = ""

PING: str = "SELECT 1"
IS_MIGRATED: str = "SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL"
# Any number will do that nobody else uses in this database: "chatkit" as bytes.
TAKE_TURNS: str = f"SELECT pg_advisory_xact_lock({int.from_bytes(b'chatkit')})"

_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d+)?")
# https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-NAMES-VALUES
_UNITS = {"": 1e-3, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
_TIME = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")
_SCHEME = re.compile(r"postgres(?:ql)?(?:\+asyncpg)?://")


def opens(url: str) -> bool:
    """See `Dialect`."""
    return _SCHEME.match(url) is not None


def problem(url: str) -> tuple[str, str] | None:
    """See `Dialect`."""
    if importlib.util.find_spec("asyncpg") is None:
        return (
            "names a PostgreSQL database, and asyncpg is not installed",
            "Run: make extras",
        )
    form = (
        "Use postgresql://role:password@host/database, with every @ : / ? # % of a password percent-encoded"
    )
    try:
        parts = urlsplit(url)
        asked = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError:
        return "is not an address of a PostgreSQL database", form
    # A port that is no number, or an @ behind the hosts, is the rest of a password that was not encoded.
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if not all(map(_HOST.fullmatch, hosts)) or "@" in parts.path or parts.fragment:
        return "is not an address of a PostgreSQL database", form
    if parts.path.strip("/") == "" and not {"database", "dbname", "service"} & asked.keys():
        return "does not name a database", form
    return None


def arguments(url: str, *, create: bool, connections: int, patient: bool) -> tuple[str, dict[str, Any]]:
    """See `Dialect`. A database that is not there is never made: that takes a right which ChatKit needs for nothing else."""
    del create
    kept = (connections + 1) // 2
    return "postgresql+asyncpg://", {
        "pool_size": kept,
        "max_overflow": connections - kept,
        "pool_timeout": 5,
        "pool_use_lifo": True,
        "connect_args": {"async_creator_fn": _connects(url, patient=patient)},
    }


def prepare(engine: "Engine") -> None:
    """See `Dialect`."""
    from sqlalchemy import event

    event.listen(engine, "checkout", _on_checkout)
    event.listen(engine, "handle_error", _on_error)


def fetch(connection: "asyncpg.Connection[Any]") -> Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]:
    """See `Dialect`."""
    import asyncpg

    async def fetched(sql: str, parameters: Sequence[Any]) -> Sequence[Any]:
        try:
            rows: Sequence[Any] = await connection.fetch(sql, *parameters)
            return rows
        except asyncio.CancelledError:
            # Whoever uses it next would have to wait until the server has heard of it.
            connection.terminate()
            raise
        except asyncpg.PostgresError as error:
            error.detail = None
            raise
        except (OSError, asyncpg.InternalClientError) as error:
            connection.terminate()
            raise unreachable(error) from error

    return fetched


def upsert(table: "Table", row: Mapping[str, Any]) -> "Insert":
    """See `Dialect`."""
    from sqlalchemy.dialects.postgresql import insert

    keys = [column.name for column in table.primary_key]
    rest = {name: value for name, value in row.items() if name not in keys}
    return insert(table).values(**row).on_conflict_do_update(index_elements=keys, set_=rest)


def failure(error: BaseException) -> str | None:
    """See `Dialect`: an SQLSTATE, or a name of the system's such as ``ECONNREFUSED``."""
    from sqlalchemy.exc import InvalidRequestError

    # So the pool gives up when connections are closed as quickly as it opens them; of a subclass it would be a bug.
    if type(error) is InvalidRequestError and str(error) == "This connection is closed":
        return "CONNECTION_CLOSED"
    return status_of(error)


def lies_at(url: str) -> Hashable:
    """See `Dialect`: only the server knows."""
    return url


def _connects(url: str, *, patient: bool) -> Callable[[], Awaitable[Any]]:
    """What opens a connection to the database at `url`."""
    limit = PATIENT_SECONDS if patient else STATEMENT_SECONDS
    session = {
        "application_name": "chatkit",
        "statement_timeout": f"{limit}s",
        "lock_timeout": f"{limit if patient else LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
        # A firewall forgets a connection on which nothing is sent.
        "tcp_keepalives_idle": "60s",
    }
    # What stands in the address has been thought about.
    given = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    statement = _seconds((session | given)["statement_timeout"])
    session = {name: value for name, value in session.items() if name not in given}
    address = _SCHEME.sub("postgresql://", url)

    async def connect() -> Any:
        import asyncpg

        try:
            connection = await asyncpg.connect(
                address,
                timeout=CONNECT_SECONDS,
                command_timeout=statement + SILENCE_SECONDS if statement else None,
                server_settings=session,
            )
        except asyncpg.PostgresError as error:
            raise Unreachable(str(error.sqlstate), str(error)) from error
        except OSError as error:
            raise unreachable(error) from error
        except (asyncpg.InterfaceError, ValueError) as error:
            # Its text may hold a part of the address.
            raise Unreachable("BAD_ADDRESS", f"{type(error).__name__} of the driver") from None
        encoding = connection.get_settings().server_encoding
        if encoding != "UTF8":
            await connection.close(timeout=CONNECT_SECONDS)
            raise Unreachable("WRONG_ENCODING", f"the database is made for {encoding}; it has to be UTF8")
        return connection

    return connect


def _seconds(time: str) -> float:
    """`time` as PostgreSQL writes it, such as `5s` or `500` (milliseconds), in seconds; 0 is without end, and what it does not take."""
    found = _TIME.fullmatch(time.strip())
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _on_checkout(connection: Any, _record: object, _proxy: object) -> None:
    """Replace a connection that has been closed while it lay in the pool: the loop has been told, so nobody needs to ask."""
    from sqlalchemy.exc import DisconnectionError

    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _on_error(context: "ExceptionContext") -> None:
    """Give up a connection that does not answer, and name what happened: SQLAlchemy knows the driver's errors only."""
    import asyncpg

    error = context.original_exception
    # SQLAlchemy hands the driver's own over as it is where it connects, and in a wrapping of its own where it asks.
    own = (
        found
        for found in (error, error.__cause__)
        if isinstance(found, (OSError, asyncpg.InternalClientError))
    )
    if (lost := next(own, None)) is not None:
        if context.connection is not None and not context.connection.closed:
            driver = context.connection.connection.driver_connection
            if driver is not None:
                driver.terminate()
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
        raise unreachable(lost) from error
    # What a row held that broke a rule is nobody's business, and exceptions are logged.
    if isinstance(error.__cause__, asyncpg.PostgresError):
        error.__cause__.detail = None
