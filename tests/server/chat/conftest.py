"""A store of the test's own, on SQLite; `database` (`tests/databases.py`) is one on either kind."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipeline.context import Request, bound
from server.store.engine import Store


@pytest.fixture
async def store(tmp_path: Path, _migrated_file: Path) -> AsyncIterator[Store]:
    file = tmp_path / "store" / "chatkit.db"
    file.parent.mkdir()
    shutil.copy(_migrated_file, file)
    opened = Store(f"sqlite+aiosqlite:///{file}")
    yield opened
    await opened.close()


@pytest.fixture
def request_() -> Iterator[Request]:
    """A request being served: what `note` and `measure` add to."""
    with bound(Request("test-request")) as request:
        yield request
