"""What tests of the outbox stand on: outboxes on one database, a clock that is set, and waiting for what must come true."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from server.mail.carrier import Carrier
from server.mail.outbox import Composer, Letter, Message, Outbox
from server.mail.smtp import MailServer, Server
from server.store.engine import Store
from server.store.tables import outbox
from tests.mailbox import Mailbox
from tests.waiting import ENOUGH_SECONDS

SENDER = "chat@example.com"


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Post:
    """What a test does with an outbox: `put` letters, and make outboxes, each with a connection pool of its own."""

    def __init__(self, url: str, mailbox: Mailbox) -> None:
        self.url = url
        self.mailbox = mailbox
        self.store = Store(url)
        self.tokens: list[str] = []
        self.stores = [self.store]
        self.reached: list[tuple[bool, str]] = []

    async def compose(self, letter: Letter) -> Message | None:
        """A letter about its subject, with a link that is new each time."""
        self.tokens.append(secrets.token_urlsafe(24))
        link = f"https://chat.example.com/verify#token={self.tokens[-1]}"
        return Message(letter.to, letter.subject_id, f"Here: {link}\n", link=link)

    def outbox(
        self,
        carrier: Carrier | None = None,
        *,
        clock: Callable[[], float] = time.time,
        composers: Mapping[str, Composer] | None = None,
        lease_seconds: float = 120,
    ) -> Outbox:
        """An outbox such as a worker has; it looks often, so that nobody waits for it."""
        self.stores.append(Store(self.url))
        return Outbox(
            self.stores[-1],
            carrier or MailServer(Server("127.0.0.1", self.mailbox.port, "none"), SENDER, step_seconds=5),
            {"verification": self.compose} if composers is None else composers,
            reached=lambda connected, reason: self.reached.append((connected, reason)),
            clock=clock,
            poll_seconds=0.02,
            lease_seconds=lease_seconds,
        )

    async def put(self, outbox: Outbox, *subjects: str, to: str = "ada@example.com") -> None:
        """Put one letter in for each of `subjects`, all in one transaction."""
        async with self.store.writing("test") as connection:
            for subject in subjects:
                await outbox.put(connection, "verification", to, subject)
        outbox.wake()

    async def rows(self) -> list[tuple[object, ...]]:
        """The outbox as it lies in the database."""
        async with self.store.reading("test") as connection:
            return [tuple(row) for row in await connection.execute(outbox.select())]

    async def until_empty(self) -> None:
        """Wait until every letter is sent or given up."""
        async with asyncio.timeout(ENOUGH_SECONDS):
            while await self.rows():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(*outboxes: Outbox) -> AsyncIterator[None]:
    """The outboxes send within the block."""
    tasks = [asyncio.create_task(outbox.run()) for outbox in outboxes]
    try:
        yield
    finally:
        await asyncio.gather(*(outbox.stop(5) for outbox in outboxes))
        await asyncio.wait_for(asyncio.gather(*tasks), ENOUGH_SECONDS)
