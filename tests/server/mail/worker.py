"""A worker that does nothing but send what is in the outbox, until it is killed.

python -m tests.server.mail.worker DATABASE_URL SMTP_PORT LEASE_SECONDS
"""

import asyncio
import sys

from server.mail.outbox import Letter, Message, Outbox
from server.mail.smtp import MailServer, Server
from server.store.engine import Store


async def compose(letter: Letter) -> Message:
    return Message(letter.to, letter.subject_id, "Hello\n")


async def work(url: str, port: int, lease_seconds: float) -> None:
    carrier = MailServer(Server("127.0.0.1", port, "none"), "chat@example.com")
    outbox = Outbox(
        Store(url), carrier, {"verification": compose}, poll_seconds=0.05, lease_seconds=lease_seconds
    )
    await outbox.run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
