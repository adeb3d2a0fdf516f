"""Conversations: every statement about them as wholes, each within a transaction of the caller's.

Whose a conversation is stands in every statement, so what is another's is as good as not there. Times are milliseconds since 1970, UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .turns import Turn

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Conversation:
    """Questions and answers that belong together."""

    id: str
    title: str
    created_at: int
    updated_at: int
    saved_at: int | None


async def begin(connection: "AsyncConnection", conversation: Mapping[str, Any]) -> None:
    """Keep a new conversation, given by its columns."""
    from .tables import conversations

    await connection.execute(conversations.insert(), dict(conversation))


async def touch(connection: "AsyncConnection", visitor: str, conversation_id: str, now: int) -> bool:
    """Say that the conversation goes on; False when the visitor has none of that ID."""
    return await _update(connection, visitor, conversation_id, updated_at=now)


async def rename(connection: "AsyncConnection", visitor: str, conversation_id: str, title: str) -> bool:
    """Give it another title; False when the visitor has none of that ID."""
    return await _update(connection, visitor, conversation_id, title=title)


async def save(connection: "AsyncConnection", visitor: str, conversation_id: str, now: int) -> bool:
    """Keep it for good; False when the visitor has none of that ID."""
    return await _update(connection, visitor, conversation_id, saved_at=now)


async def delete(connection: "AsyncConnection", visitor: str, conversation_id: str) -> bool:
    """Delete it with its turns; False when the visitor has none of that ID."""
    from .tables import conversations as table

    statement = table.delete().where(table.c.visitor == visitor, table.c.id == conversation_id)
    return (await connection.execute(statement)).rowcount == 1


async def find(connection: "AsyncConnection", visitor: str, conversation_id: str) -> Conversation | None:
    """The visitor's conversation of that ID."""
    from .tables import conversations as table

    found = _selected().where(table.c.visitor == visitor, table.c.id == conversation_id)
    row = (await connection.execute(found)).one_or_none()
    return None if row is None else Conversation(*tuple(row))


async def newest(
    connection: "AsyncConnection", visitor: str, limit: int, before: tuple[int, str] | None
) -> list[Conversation]:
    """At most `limit` of the visitor's conversations, the one that went on last first.

    `before` is the (`updated_at`, `id`) of the last one that is known: only those behind it are told.
    """
    from sqlalchemy import tuple_

    from .tables import conversations as table

    found = _selected().where(table.c.visitor == visitor)
    if before is not None:
        found = found.where(tuple_(table.c.updated_at, table.c.id) < before)
    found = found.order_by(table.c.updated_at.desc(), table.c.id.desc()).limit(limit)
    return [Conversation(*tuple(row)) for row in await connection.execute(found)]


async def turns_of(connection: "AsyncConnection", conversation_id: str, limit: int) -> list[Turn]:
    """The last `limit` turns of a conversation, in the order asked."""
    from sqlalchemy import select

    from .tables import turns as table

    columns: list[Any] = [table.c[name] for name in Turn.__dataclass_fields__]
    found = (
        select(*columns)
        .where(table.c.conversation == conversation_id)
        .order_by(table.c.created_at.desc(), table.c.id.desc())
        .limit(limit)
    )
    return [Turn(*tuple(row)) for row in await connection.execute(found)][::-1]


async def asked(connection: "AsyncConnection", visitor: str, limit: int) -> list[tuple[str, str | None]]:
    """The visitor's last `limit` questions, the newest first, each with the sources of its answer as JSON, if they are known."""
    from sqlalchemy import select

    from .tables import turns as table

    found = select(table.c.question, table.c.sources).where(table.c.visitor == visitor)
    found = found.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit)
    return [(row.question, row.sources) for row in await connection.execute(found)]


async def move(connection: "AsyncConnection", visitor: str, to: str) -> int:
    """Give all of a visitor's conversations to another; how many that were."""
    from sqlalchemy import select

    from .tables import conversations, turns

    # A message ID that both have used stays unique: the moved turn is known by its own ID from then on.
    theirs = select(turns.c.message_id).where(turns.c.visitor == to)
    clash = turns.update().where(turns.c.visitor == visitor, turns.c.message_id.in_(theirs))
    await connection.execute(clash.values(message_id=turns.c.id))
    await connection.execute(turns.update().where(turns.c.visitor == visitor).values(visitor=to))
    moved = conversations.update().where(conversations.c.visitor == visitor).values(visitor=to)
    return (await connection.execute(moved)).rowcount


def _selected() -> Any:
    from sqlalchemy import select

    from .tables import conversations as table

    columns: Sequence[Any] = [table.c[name] for name in Conversation.__dataclass_fields__]
    return select(*columns)


async def _update(connection: "AsyncConnection", visitor: str, conversation_id: str, **columns: Any) -> bool:
    from .tables import conversations as table

    statement = table.update().where(table.c.visitor == visitor, table.c.id == conversation_id)
    return (await connection.execute(statement.values(**columns))).rowcount == 1
