"""Turns: every statement about one question and its answer, each within a transaction of the caller's.

That a turn happens once is what the table promises: a visitor's message ID is unique, so of two who begin the same turn at the same moment
one finds it begun. Times are milliseconds since 1970, UTC.
"""

from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

RUNNING, DONE, CUT_OFF = "running", "done", "cut_off"


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and what is known of its answer. `sources` and `metadata` are JSON, None until they are known.

    `request_id` is of the request that asked first: what happened then is in the log under it.
    """

    id: str
    conversation: str
    message_id: str
    request_id: str | None
    asked: str
    question: str
    state: str
    answer: str
    sources: str | None
    metadata: str | None
    created_at: int
    alive_until: int


async def begin(connection: "AsyncConnection", turn: Turn, visitor: str) -> bool:
    """Keep a new turn of a visitor; False when there is one of that message ID."""
    done = await connection.execute(_begin(connection.dialect.name), asdict(turn) | {"visitor": visitor})
    return done.rowcount == 1


@cache
def _begin(database: str) -> Any:
    from .portable import insert
    from .tables import turns as table

    return insert(database, table).on_conflict_do_nothing(index_elements=["visitor", "message_id"])


async def find(connection: "AsyncConnection", visitor: str, message_id: str) -> Turn | None:
    """The visitor's turn of that message ID."""
    row = (await connection.execute(_find(), {"of": visitor, "called": message_id})).one_or_none()
    return None if row is None else Turn(*tuple(row))


@cache
def _find() -> Any:
    from sqlalchemy import bindparam, select

    from .tables import turns as table

    columns: list[Any] = [table.c[name] for name in Turn.__dataclass_fields__]
    return select(*columns).where(
        table.c.visitor == bindparam("of"), table.c.message_id == bindparam("called")
    )


async def write(connection: "AsyncConnection", turn_id: str, **columns: Any) -> bool:
    """Write what is known now of a running turn; False when it runs no more: it was given up, or deleted."""
    return (await connection.execute(_write(), {"turn": turn_id, **columns})).rowcount == 1


@cache
def _write() -> Any:
    from sqlalchemy import bindparam

    from .tables import turns as table

    return table.update().where(table.c.id == bindparam("turn"), table.c.state == RUNNING)


async def give_up(connection: "AsyncConnection", turn_id: str, now: int) -> bool:
    """Mark a turn cut off whose maker has not been heard of in time; False when it has, or has ended."""
    from .tables import turns as table

    statement = (
        table.update()
        .where(table.c.id == turn_id, table.c.state == RUNNING, table.c.alive_until < now)
        .values(state=CUT_OFF)
    )
    return (await connection.execute(statement)).rowcount == 1


async def undo(connection: "AsyncConnection", turn_id: str) -> None:
    """Forget a turn of which nothing was ever answered, and its conversation if there is nothing else in it."""
    from sqlalchemy import exists, select

    from .tables import conversations, turns

    of = select(turns.c.conversation).where(turns.c.id == turn_id)
    conversation = (await connection.execute(of)).scalar_one_or_none()
    await connection.execute(turns.delete().where(turns.c.id == turn_id))
    alone = ~exists().where(turns.c.conversation == conversations.c.id)
    await connection.execute(conversations.delete().where(conversations.c.id == conversation, alone))
