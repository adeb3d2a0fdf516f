"""The outbox in the database: which letters are still to be sent, and who is sending each.

A row is a letter that nobody has taken yet; once somebody has, it is gone. Who sends a letter holds a lease on it:
a name of its own, and a time at which the letter is due again for others. So a letter outlives whoever was sending it, and is
with one of them at a time. Times are seconds since the epoch.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .engine import Store

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter to be sent: of what `kind`, to which address, about what. `attempts` counts the present one.

    `subject_id` is the ID of what the letter is about, such as a verification; `request_id` that of the request that asked for it.
    """

    id: str
    kind: str
    to: str
    subject_id: str
    request_id: str | None
    attempts: int
    created_at: float


class Backlog(NamedTuple):
    """What waits in the outbox, all of it: how many letters, since when the oldest, and when the next is due."""

    waiting: int = 0
    oldest_at: float | None = None
    next_at: float | None = None


async def add(
    connection: "AsyncConnection", kind: str, to: str, subject_id: str, *, request_id: str | None, now: float
) -> str:
    """Add a letter, due at once, in the caller's transaction; its ID."""
    from .tables import outbox

    letter_id = secrets.token_hex(16)
    row = {
        "id": letter_id,
        "kind": kind,
        "to_email": to,
        "subject_id": subject_id,
        "request_id": request_id,
        "created_at": now,
        "due_at": now,
        "attempts": 0,
    }
    await connection.execute(outbox.insert(), row)
    return letter_id


async def backlog(store: Store) -> Backlog:
    """What waits, letters that are being sent included."""
    from sqlalchemy import func, select

    from .tables import outbox

    figures = select(func.count(), func.min(outbox.c.created_at), func.min(outbox.c.due_at))
    async with store.reading("mail_backlog") as connection:
        return Backlog(*(await connection.execute(figures)).one())


async def claim(store: Store, lease: str, limit: int, now: float, until: float) -> list[Letter]:
    """Take at most `limit` due letters for `lease`, the longest due first; they are due for others at `until`.

    Several may claim at once: each letter goes to one of them.
    """
    from sqlalchemy import select, update

    from .tables import outbox

    due = (
        select(outbox.c.id)
        .where(outbox.c.due_at <= now)
        .order_by(outbox.c.due_at)
        .limit(limit)
        # SQLite has one writer at a time, and no such clause. On PostgreSQL the lock keeps two from taking the same rows, and
        # the common table expression, which is never merged into the update when it locks, keeps the limit.
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = (
        update(outbox)
        .where(outbox.c.id.in_(select(due.c.id)))
        .values(lease=lease, due_at=until, attempts=outbox.c.attempts + 1)
        .returning(
            outbox.c.id,
            outbox.c.kind,
            outbox.c.to_email,
            outbox.c.subject_id,
            outbox.c.request_id,
            outbox.c.attempts,
            outbox.c.created_at,
        )
    )
    async with store.writing("claim_mail") as connection:
        letters = [Letter(*row) for row in await connection.execute(taken)]
    return sorted(letters, key=lambda letter: letter.created_at)


async def remove(store: Store, letter_id: str) -> None:
    """Forget a letter that was sent, whoever has a lease on it by now: it must not go out again."""
    from .tables import outbox

    async with store.writing("remove_mail") as connection:
        await connection.execute(outbox.delete().where(outbox.c.id == letter_id))


async def give_back(store: Store, lease: str, letter_ids: Collection[str], due_at: float) -> None:
    """End `lease` on those letters, and have them due at `due_at`. Those that others have by now are left to them."""
    from .tables import outbox

    ours = (outbox.c.lease == lease) & outbox.c.id.in_(letter_ids)
    async with store.writing("postpone_mail") as connection:
        await connection.execute(outbox.update().where(ours).values(lease=None, due_at=due_at))


async def hasten(store: Store, now: float, farthest: float) -> None:
    """Have every letter due at once that nobody is sending, or that is due later than `farthest`, which no lease reaches."""
    from .tables import outbox

    waiting = (outbox.c.due_at > now) & (outbox.c.lease.is_(None) | (outbox.c.due_at > farthest))
    async with store.writing("hasten_mail") as connection:
        await connection.execute(outbox.update().where(waiting).values(due_at=now, lease=None))
