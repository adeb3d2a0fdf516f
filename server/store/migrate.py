"""Bring a database to the present shape, and say whether it has it.

`obstacle` is asked at every start, so it imports nothing; Alembic is imported only to upgrade.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log

from .engine import Store
from .sqlite import database_file

if TYPE_CHECKING:
    from sqlalchemy import Connection

declare(
    [
        Event(
            "database_migrated",
            "INFO",
            "The database was brought to the present shape.",
            {
                "from_revision": Field("the revision before, or null"),
                "to_revision": Field("the revision now"),
            },
        )
    ]
)


class UnknownRevision(Exception):
    """The database was migrated by a newer version than this one."""


HEAD = "0007"
"""The newest revision; a test holds it and the scripts together."""


async def is_current(store: Store) -> bool:
    """Whether the database has the newest revision; False for an empty one. Raises ``StoreUnavailable``."""
    return await revision(store) == HEAD


async def obstacle(url: str) -> tuple[str, str] | None:
    """Why the database at `url` cannot be used as it is, and what to do; None when it can. Raises ``StoreUnavailable``."""
    store = Store(url, create=False)
    try:
        if not store.exists():
            # Made anew without a word, it would look as if everything had been lost.
            fix = "Is DATABASE_URL right, and its disk mounted? To begin with a new one: python -m server migrate"
            return f"there is no database at {database_file(url)}", fix
        if await is_current(store):
            return None
        return "it does not have the present shape", "Run: python -m server migrate"
    finally:
        await store.close()


async def revision(store: Store) -> str | None:
    """The revision of the database; None for one that was never migrated."""
    async with store.fetching("revision") as fetch:
        if not await fetch(store.dialect.IS_MIGRATED, ()):
            return None
        rows = await fetch("SELECT version_num FROM alembic_version", ())
    return str(rows[0][0]) if rows else None


async def upgrade(url: str) -> tuple[str | None, str]:
    """Bring the database at `url` to `HEAD`; the revisions before and after.

    Several processes may call it at once: one works, the others wait and find it done. Raises ``StoreUnavailable``, and
    ``UnknownRevision`` for a database that a newer version has migrated.
    """
    store = Store(url, patient=True)
    try:
        before = await revision(store)
        if before != HEAD:
            async with store.writing("migrate") as connection:
                await connection.exec_driver_sql(store.dialect.TAKE_TURNS)
                before = await connection.run_sync(_upgrade)
            if before != HEAD:
                log.info("database_migrated", from_revision=before, to_revision=HEAD)
        return before, HEAD
    finally:
        await store.close()


def configuration() -> Any:
    """Alembic's `Config` for the scripts beside this file: no ini file, so it works from an installed wheel."""
    from alembic.config import Config

    config = Config()
    # Alembic interpolates its options.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: "Connection") -> str | None:
    """Run the scripts; the revision before, which another process may have changed while this one waited."""
    from alembic import command
    from alembic.migration import MigrationContext
    from alembic.util import CommandError

    config = configuration()
    config.attributes["connection"] = connection
    before = MigrationContext.configure(connection).get_current_revision()
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise UnknownRevision(f"it was made by a newer version: {error}") from None
    return before
