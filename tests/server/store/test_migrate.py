"""Migrations: the scripts, the tables and the constant `HEAD` say the same; any number of processes may upgrade at once."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from server.store import migrate
from server.store.engine import Store
from server.store.tables import metadata
from tests.databases import Databases
from tests.harness import ROOT, clean_environment
from tests.reading_log import events


@pytest.fixture
def url(databases: Databases) -> str:
    """Where an empty database is, of either kind."""
    return databases(empty=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """The same, opened."""
    opened = Store(url)
    yield opened
    await opened.close()


def test_the_constant_names_the_newest_script() -> None:
    assert ScriptDirectory.from_config(migrate.configuration()).get_heads() == [migrate.HEAD]


async def test_an_upgraded_database_is_current_and_an_empty_one_is_not(url: str, store: Store) -> None:
    assert await migrate.is_needed(url)
    assert not await migrate.is_current(store)
    with events() as written:
        assert await migrate.upgrade(url) == (None, migrate.HEAD)
        assert await migrate.is_current(store)
        assert await migrate.upgrade(url) == (migrate.HEAD, migrate.HEAD)
    assert not await migrate.is_needed(url)
    told = [(event["from_revision"], event["to_revision"]) for event in written]
    assert told == [(None, migrate.HEAD)]


async def test_the_scripts_make_the_tables_that_the_code_uses(url: str, store: Store) -> None:
    await migrate.upgrade(url)

    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, _: kind != "table" or name in metadata.tables}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        changes = [change for group in found for change in (group if isinstance(group, list) else [group])]
        # What the code says of a column is for readers of the code.
        return [change for change in changes if change[0] != "modify_comment"]

    async with store.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_four_processes_upgrade_at_once_and_one_of_them_works(url: str, store: Store) -> None:
    code = "import asyncio, sys; from server.store import migrate; asyncio.run(migrate.upgrade(sys.argv[1]))"
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            url,
            cwd=ROOT,
            env=clean_environment(),
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    told = b""
    for process in processes:
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
        told += said
    assert await migrate.revision(store) == migrate.HEAD
    assert told.count(b'"event":"database_migrated"') == 1


async def test_a_failed_upgrade_leaves_the_database_as_it_was(url: str, store: Store) -> None:
    async with store.writing("test") as connection:
        # The second table that the first script makes.
        await connection.execute(text("CREATE TABLE passages (unexpected integer)"))
    with pytest.raises(DBAPIError, match="passages"):
        await migrate.upgrade(url)
    async with store.reading("test") as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["passages"]


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(url: str, store: Store) -> None:
    await migrate.upgrade(url)
    async with store.writing("test") as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert not await migrate.is_current(store)
    with pytest.raises(migrate.UnknownRevision, match="newer"):
        await migrate.upgrade(url)
    assert await migrate.revision(store) == "9999"


async def test_a_database_can_be_emptied_and_made_anew(url: str, store: Store) -> None:
    await migrate.upgrade(url)

    def down(connection: Connection) -> None:
        from alembic import command

        config = migrate.configuration()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    async with store.writing("test") as connection:
        await connection.run_sync(down)
    async with store.reading("test") as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["alembic_version"]
    assert await migrate.upgrade(url) == (None, migrate.HEAD)


def test_asking_whether_it_is_current_does_not_import_alembic(url: str) -> None:
    code = (
        "import asyncio, sys; from server.store import migrate; from server.store.engine import Store\n"
        "async def main():\n"
        "    store = Store(sys.argv[1]); print(await migrate.is_current(store)); await store.close()\n"
        "asyncio.run(main()); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, url],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]


async def test_it_works_from_a_folder_with_a_percent_sign(tmp_path: Path) -> None:
    folder = tmp_path / "100%s"
    folder.mkdir()
    await migrate.upgrade(f"sqlite+aiosqlite:///{folder}/chatkit.db")
    assert (folder / "chatkit.db").exists()
