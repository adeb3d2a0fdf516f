"""Tokens are counted by all workers together, whatever the database."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql

from server.store import forgetting, migrate, usage
from server.store.engine import Store, StoreUnavailable

AT = "2026-01-01T00:00:00.000Z"


@pytest.fixture
async def url(tmp_path: Path) -> str:
    found = f"sqlite+aiosqlite:///{tmp_path}/chatkit.db"
    await migrate.upgrade(found)
    return found


async def test_what_is_added_adds_up_also_from_several_at_once(url: str) -> None:
    stores = [Store(url) for _ in range(4)]
    try:
        await asyncio.gather(
            *(usage.add(store, {"day:a": 2, "conversation:b": 1}, AT) for store in stores for _ in range(10))
        )
        assert await usage.read(stores[0], ["day:a", "conversation:b", "day:none"]) == {
            "day:a": 80,
            "conversation:b": 40,
            "day:none": 0,
        }
    finally:
        for store in stores:
            await store.close()


async def test_what_is_old_is_forgotten(url: str) -> None:
    store = Store(url)
    await usage.add(store, {"day:old": 1}, AT)
    await usage.add(store, {"day:new": 1}, "2026-03-01T00:00:00.000Z")
    await forgetting.usage(store, "2026-02-01T00:00:00.000Z")
    assert await usage.read(store, ["day:old", "day:new"]) == {"day:old": 0, "day:new": 1}
    await store.close()


async def test_a_database_that_is_gone_says_so(tmp_path: Path) -> None:
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/nothing.db", create=False)
    with pytest.raises(StoreUnavailable):
        await usage.read(store, ["day:a"])
    with pytest.raises(StoreUnavailable):
        await usage.add(store, {"day:a": 1}, AT)
    await store.close()


def test_postgresql_adds_up_in_one_statement_too() -> None:
    new = usage.adding("postgresql", "day:a", 2, AT)
    assert "ON CONFLICT (scope) DO UPDATE SET tokens = (llm_usage.tokens + excluded.tokens)" in str(
        new.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    )
