"""A database with an outbox, a mail server to send to, and a clock that a test sets."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.store import migrate
from tests.mailbox import Mailbox, open_mailbox
from tests.server.mail.post import Clock, Post


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with open_mailbox() as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def post(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[Post]:
    url = f"sqlite+aiosqlite:///{tmp_path}/chatkit.db"
    await migrate.upgrade(url)
    opened = Post(url, mailbox)
    yield opened
    for store in opened.stores:
        await store.close()
