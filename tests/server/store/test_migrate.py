"""Migrations: the scripts, the tables and the constant `HEAD` say the same; any number of processes may upgrade at once."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
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
from tests.harness import ROOT, ServerProcess, clean_environment
from tests.reading_log import events
from tests.server.mail.test_server import PRODUCTION


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
    assert await migrate.obstacle(url)
    assert not await migrate.is_current(store)
    with events() as written:
        assert await migrate.upgrade(url) == (None, migrate.HEAD)
        assert await migrate.is_current(store)
        assert await migrate.upgrade(url) == (migrate.HEAD, migrate.HEAD)
    assert await migrate.obstacle(url) is None
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


@pytest.mark.parametrize(
    "command", [("server",), ("server", "ingest", "."), ("server", "mail", "ada@example.com")]
)
def test_in_production_a_missing_database_is_not_made_without_a_word_and_an_old_one_not_changed(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    server = ServerProcess(tmp_path, **PRODUCTION)

    def told() -> tuple[str, str]:
        done = server.command(*command)
        assert done.returncode == 78
        (line,) = [json.loads(line) for line in done.stderr.splitlines() if b"start_failed" in line]
        assert line["what"] == "use the database"
        return line["reason"], line["fix"]

    reason, fix = told()
    assert reason == "there is no database at var/chatkit.db"
    assert fix.startswith("Is DATABASE_URL right, and its disk mounted?")
    file = tmp_path / "var" / "chatkit.db"
    assert not file.exists()
    file.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE of_an_older_version (x)")
    assert told() == ("it does not have the present shape", "Run: python -m server migrate")
    assert server.command("server", "migrate").returncode == 0
    assert server.command("server", "ingest", ".").returncode == 0
