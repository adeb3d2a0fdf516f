"""Tokens that language models were paid for: counted by all workers together, and kept over restarts."""

from collections.abc import Mapping, Sequence
from typing import Any

from .engine import Store


async def read(store: Store, scopes: Sequence[str]) -> dict[str, int]:
    """How many tokens were counted under each of `scopes`; 0 for one that nothing was counted under. Raises ``StoreUnavailable``."""
    from sqlalchemy import select

    from .tables import llm_usage

    found = dict.fromkeys(scopes, 0)
    async with store.reading("read_llm_usage") as connection:
        wanted = select(llm_usage.c.scope, llm_usage.c.tokens).where(llm_usage.c.scope.in_(scopes))
        for scope, tokens in await connection.execute(wanted):
            found[scope] = tokens
    return found


async def add(store: Store, tokens: Mapping[str, int], at: str) -> None:
    """Count more `tokens` by scope, at that time (UTC, as in the log); one transaction. Raises ``StoreUnavailable``."""
    async with store.writing("add_llm_usage") as connection:
        # In the order of their names, so that no two workers wait for each other.
        for scope in sorted(tokens):
            await connection.execute(adding(connection.dialect.name, scope, tokens[scope], at))


def adding(dialect: str, scope: str, tokens: int, at: str) -> Any:
    """The statement that counts more tokens: `INSERT … ON CONFLICT`, which SQLAlchemy has once for each of the two databases."""
    from .tables import llm_usage

    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    new = insert(llm_usage).values(scope=scope, tokens=tokens, updated_at=at)
    summed = {"tokens": llm_usage.c.tokens + new.excluded.tokens, "updated_at": new.excluded.updated_at}
    return new.on_conflict_do_update(index_elements=["scope"], set_=summed)
