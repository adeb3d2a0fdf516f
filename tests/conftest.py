"""Fixtures for every test: a server of one's own, or the one that all tests of a session may ask."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ROOT, ServerProcess, running, with_documents
from tests.redis import RedisProcess, redis_running

# A suite that was started in the background inherits that interrupts are ignored; what it starts is to hear them.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.databases", "tests.identity_provider"]


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database into which the project's own documents have been ingested; copy it, do not write to it."""
    database = tmp_path_factory.mktemp("documents") / "chatkit.db"
    project = ServerProcess(ROOT, DATABASE_URL=f"sqlite+aiosqlite:///{database}")
    done = project.command("server", "ingest", "README.md", "docs")
    assert done.returncode == 0, done.stderr.decode()
    return database


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory, documents: Path) -> Iterator[ServerProcess]:
    """A server with documents that any test may ask; nobody may break it."""
    folder = tmp_path_factory.mktemp("asked")
    with_documents(folder, documents)
    with running(folder) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the test's own, without documents."""
    with running(tmp_path / "server") as own:
        yield own


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisProcess]:
    """A Redis that all tests of a session share; nobody may stop it, and each takes keys of its own."""
    with redis_running() as process:
        yield process


@pytest.fixture
def rng() -> random.Random:
    """Randomness that is the same in every run."""
    return random.Random(20260101)
