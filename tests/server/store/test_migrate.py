"""Migrations: the scripts, the tables and the constant `HEAD` say the same; any number of processes may upgrade at once."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from server.store import migrate
from server.store.engine import Store
from server.store.tables import metadata
from tests.harness import ROOT, clean_environment


def _url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/chatkit.db"


def test_the_constant_names_the_newest_script() -> None:
    assert ScriptDirectory.from_config(migrate.configuration()).get_heads() == [migrate.HEAD]


async def test_an_upgraded_database_is_current_and_an_empty_one_is_not(tmp_path: Path) -> None:
    store = Store(_url(tmp_path))
    assert not await migrate.is_current(store)
    assert await migrate.upgrade(_url(tmp_path)) == (None, migrate.HEAD)
    assert await migrate.is_current(store)
    assert await migrate.upgrade(_url(tmp_path)) == (migrate.HEAD, migrate.HEAD)
    await store.close()


async def test_the_scripts_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    await migrate.upgrade(_url(tmp_path))
    store = Store(_url(tmp_path))

    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, _: kind != "table" or name in metadata.tables}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with store.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await store.close()


async def test_four_processes_upgrade_at_once(tmp_path: Path) -> None:
    code = "import asyncio, sys; from server.store import migrate; asyncio.run(migrate.upgrade(sys.argv[1]))"
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            _url(tmp_path),
            cwd=ROOT,
            env=clean_environment(),
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for process in processes:
        _, told = await process.communicate()
        assert process.returncode == 0, told.decode()
    assert sqlite3.connect(tmp_path / "chatkit.db").execute(
        "SELECT version_num FROM alembic_version"
    ).fetchall() == [(migrate.HEAD,)]


async def test_a_failed_upgrade_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "chatkit.db"
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE passages (unexpected)")  # the second table that the first script makes
    other.commit()
    other.close()
    with pytest.raises(OperationalError, match="passages"):
        await migrate.upgrade(_url(tmp_path))
    names = [name for (name,) in sqlite3.connect(file).execute("SELECT name FROM sqlite_schema")]
    assert names == ["passages"]


def test_asking_whether_it_is_current_does_not_import_alembic(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from server.store import migrate; from server.store.engine import Store\n"
        "async def main():\n"
        "    store = Store(sys.argv[1]); print(await migrate.is_current(store)); await store.close()\n"
        "asyncio.run(main()); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, _url(tmp_path)],
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
    await migrate.upgrade(_url(folder))
    assert (folder / "chatkit.db").exists()
