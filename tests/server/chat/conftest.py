"""A migrated store for each test, copied from one that is migrated once."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipeline.context import Request, bound
from server.store import migrate
from server.store.engine import Store


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "chatkit.db"
    asyncio.run(migrate.upgrade(f"sqlite+aiosqlite:///{file}"))
    return file


@pytest.fixture
async def store(tmp_path: Path, _migrated: Path) -> AsyncIterator[Store]:
    file = tmp_path / "store" / "chatkit.db"
    file.parent.mkdir()
    shutil.copy(_migrated, file)
    opened = Store(f"sqlite+aiosqlite:///{file}")
    yield opened
    await opened.close()


@pytest.fixture
def request_() -> Iterator[Request]:
    """A request being served: what `note` and `measure` add to."""
    with bound(Request("test-request")) as request:
        yield request
