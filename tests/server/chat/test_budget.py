"""What may be spent is what is left, whoever spent the rest; and no budget breaks an answer."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from server.chat.budget import KEPT_DAYS, Bounds, Budget
from server.store import usage
from server.store.engine import Store
from tests.reading_log import events
from tests.waiting import ENOUGH_SECONDS


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 23, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def test_without_bounds_nothing_is_ever_spent_and_all_is_counted(store: Store) -> None:
    budget = Budget(store, Bounds(), Clock())
    budget.spend(5_000_000, "c1")
    assert await budget.spent("c1") is None
    await budget.close()
    assert await usage.read(store, ["day:2026-01-31", "conversation:c1"]) == {
        "day:2026-01-31": 5_000_000,
        "conversation:c1": 5_000_000,
    }


async def test_a_day_s_tokens_are_those_of_all_workers_and_end_with_the_day(store: Store) -> None:
    clock = Clock()
    one, other = (Budget(store, Bounds(day=100), clock) for _ in range(2))
    one.spend(60, None)
    await one.close()
    other.spend(40, None)
    with events() as logged:
        assert await other.spent(None) == "day"
        assert await other.spent(None) == "day"
    assert [(line["scope"], line["tokens"], line["budget"]) for line in logged] == [("day", 100, 100)]
    await other.close()
    assert await one.spent(None) == "day"
    clock.now += timedelta(hours=2)
    assert await one.spent(None) is None


async def test_a_conversation_has_a_bound_of_its_own(store: Store) -> None:
    budget = Budget(store, Bounds(conversation=100), Clock())
    budget.spend(100, "c1")
    assert await budget.spent("c1") == "conversation"
    assert await budget.spent("c2") is None
    assert await budget.spent(None) is None
    await budget.close()


async def test_answers_under_way_count_until_they_end(store: Store) -> None:
    budget = Budget(store, Bounds(day=1000, conversation=500), Clock())
    with budget.reserved(500, "c1"):
        assert await budget.spent("c1") == "conversation"
        assert await budget.spent("c2") is None
        with budget.reserved(500, None):
            assert await budget.spent(None) == "day"
        assert await budget.spent(None) is None
    assert await budget.spent("c1") is None
    assert not budget._under_way


async def test_it_is_written_by_itself(store: Store) -> None:
    budget = Budget(store, Bounds(), Clock())
    for _ in range(50):
        budget.spend(2, None)
    async with asyncio.timeout(ENOUGH_SECONDS):
        while not (spent := (await usage.read(store, ["day:2026-01-31"]))["day:2026-01-31"]):
            await asyncio.sleep(0.02)
    assert spent == 100
    budget.spend(1, None)
    await budget.close()
    assert (await usage.read(store, ["day:2026-01-31"]))["day:2026-01-31"] == 101


async def test_a_budget_that_cannot_be_read_or_written_breaks_nothing_and_is_made_up_for(
    store: Store,
) -> None:
    assert store.engine.url.database is not None
    file = Path(store.engine.url.database)
    budget = Budget(store, Bounds(day=100), Clock())
    assert await budget.spent(None) is None
    away = file.with_suffix(".away")
    await store.engine.dispose()
    file.rename(away)
    gone = Store(f"sqlite+aiosqlite:///{file}", create=False)
    budget._store = gone
    with events() as logged:
        assert await budget.spent(None) is None
        budget.spend(100, None)
        await asyncio.sleep(0.5)
        assert await budget.spent(None) == "day"
    assert {line["event"] for line in logged} == {"dependency_call", "llm_budget_spent"}
    away.rename(file)
    budget._store = store
    await budget.close()
    assert (await usage.read(store, ["day:2026-01-31"]))["day:2026-01-31"] == 100
    await gone.close()


async def test_what_is_too_old_to_count_is_forgotten(store: Store) -> None:
    clock = Clock()
    budget = Budget(store, Bounds(), clock)
    budget.spend(1, "c1")
    await budget.close()
    clock.now += timedelta(days=KEPT_DAYS + 1)
    budget.spend(1, "c2")
    await budget.close()
    assert await usage.read(store, ["conversation:c1", "conversation:c2"]) == {
        "conversation:c1": 0,
        "conversation:c2": 1,
    }
