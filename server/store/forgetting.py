"""What is kept only for a time, and is over.

It is deleted a little at a time: one long `DELETE` would hold up whoever writes, or be cut off each time it is tried. Each function
returns how many rows it deleted, and raises ``StoreUnavailable``, when some may be gone already.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table

    from .engine import Store

AT_ONCE = 500
"""How many rows go in one transaction; with a conversation go its turns."""


async def sessions(store: "Store", before: int) -> int:
    """Sessions that expired or ended before then (milliseconds since 1970)."""
    from .tables import sessions as table

    over = (table.c.expires_at < before) | (table.c.ended_at < before)
    return await _forget(store, "forget_sessions", table, over)


async def verifications(store: "Store", before: int) -> int:
    """Verifications that were requested before then (milliseconds since 1970)."""
    from .tables import verifications as table

    return await _forget(store, "forget_verifications", table, table.c.requested_at < before)


async def sign_ins(store: "Store", before: int) -> int:
    """Sign-ins with a provider that expired before then (milliseconds since 1970)."""
    from .tables import sign_ins as table

    return await _forget(store, "forget_sign_ins", table, table.c.expires_at < before)


async def conversations(store: "Store", before: int) -> int:
    """Conversations that nobody saved and that last went on before then (milliseconds since 1970)."""
    from .tables import conversations as table

    over = (table.c.updated_at < before) & table.c.saved_at.is_(None)
    return await _forget(store, "forget_conversations", table, over)


async def usage(store: "Store", before: str) -> int:
    """What language models were last paid for before then (UTC, as in the log)."""
    from .tables import llm_usage as table

    return await _forget(store, "forget_llm_usage", table, table.c.updated_at < before)


async def _forget(store: "Store", operation: str, table: "Table", over: "ColumnElement[bool]") -> int:
    from sqlalchemy import select

    (key,) = table.primary_key
    some = select(key).where(over).limit(AT_ONCE)
    count = 0
    while True:
        async with store.writing(operation) as connection:
            gone = (await connection.execute(table.delete().where(key.in_(some)))).rowcount
        count += gone
        if gone < AT_ONCE:
            return count
