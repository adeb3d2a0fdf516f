"""Migrated databases of either kind, so that what is promised of one is tested on both.

    async def test_what_is_kept_is_found(database_url: str) -> None:      runs on SQLite, and on PostgreSQL

Each is new, and goes with its test. `databases` makes several; `postgres` is the server itself, for tests that need more of it than
a database, and must leave it as it was.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest

from server.store import migrate
from server.store.engine import Store
from tests.postgres import Postgres

KINDS = ("sqlite", "postgresql")


class Databases(Protocol):
    """Makes databases of one kind; the URL of a new one, migrated unless it is to be `empty`."""

    kind: str

    def __call__(self, *, empty: bool = False) -> str: ...


class SQLiteDatabases:
    kind = "sqlite"

    def __init__(self, folders: Callable[[], Path], template: Path) -> None:
        self._folders = folders
        self._template = template

    def __call__(self, *, empty: bool = False) -> str:
        file = self._folders() / "chatkit.db"
        if not empty:
            shutil.copy(self._template, file)
        return f"sqlite+aiosqlite:///{file}"


class PostgresDatabases:
    kind = "postgresql"

    def __init__(self, server: Postgres, template: str) -> None:
        self._server = server
        self._template = template
        self._made: list[str] = []

    def __call__(self, *, empty: bool = False) -> str:
        name = self._server.database() if empty else self._server.database(self._template)
        self._made.append(name)
        return self._server.url(name)

    def drop(self) -> None:
        while self._made:
            self._server.drop(self._made.pop())


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL of the session; without its programs the test is left out and says so, in CI it fails."""
    server = Postgres()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "chatkit.db"
    _migrated(f"sqlite+aiosqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def _migrated_template(postgres: Postgres) -> str:
    name = postgres.database()
    _migrated(postgres.url(name))
    return name


def _migrated(url: str) -> None:
    # In a thread: a loop may run in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(migrate.upgrade(url))).result()


@pytest.fixture(params=KINDS)
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    """Makes migrated databases; a test that asks for it runs once for each kind."""
    if request.param == "sqlite":
        template = request.getfixturevalue("_migrated_file")
        yield SQLiteDatabases(lambda: tmp_path_factory.mktemp("database"), template)
    else:
        server = request.getfixturevalue("postgres")
        made = PostgresDatabases(server, request.getfixturevalue("_migrated_template"))
        yield made
        made.drop()


@pytest.fixture
def database_url(databases: Databases) -> str:
    """A migrated database; a test that asks for it runs once for each kind."""
    return databases()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Store]:
    """The same, opened."""
    store = Store(database_url)
    yield store
    await store.close()
