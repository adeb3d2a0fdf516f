"""A database with an outbox, a mail server to send to, and a clock that a test sets."""

from collections.abc import AsyncIterator, Iterator

import pytest

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
async def post(database_url: str, mailbox: Mailbox) -> AsyncIterator[Post]:
    opened = Post(database_url, mailbox)
    yield opened
    for store in opened.stores:
        await store.close()
