"""A visitor's conversations, on either database: theirs alone, in order, and gone when they are deleted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import orjson
import pytest
from sqlalchemy import event

from server.accounts.visitor import Tier, Visitor
from server.chat.passages import Passage
from server.conversations.service import Conversations
from server.errors import NotFound
from server.store import conversations as table
from server.store import forgetting, turns
from server.store.engine import Store
from server.store.turns import Turn
from tests.reading_log import events

DAY = 86_400_000
_numbers = count(1)


class Shelf:
    """Finds what a test has put there, by one word."""

    def __init__(self, **passages: Sequence[Passage]) -> None:
        self.passages = passages

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        return [passage for word, found in self.passages.items() if word in question for passage in found][
            :limit
        ]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(database: Store, clock: Clock) -> Conversations:
    return Conversations(database, Shelf(), clock)


def visitor(name: str = "a") -> Visitor:
    return Visitor(name * 32, Tier.LIGHTWEIGHT, "s" * 32, 0)


@contextmanager
def deletions(store: Store) -> Iterator[list[int]]:
    """How many rows went with each `DELETE` within the block."""
    gone: list[int] = []

    def heard(_: object, cursor: Any, statement: str, *__: object) -> None:
        if statement.startswith("DELETE"):
            gone.append(cursor.rowcount)

    event.listen(store.engine.sync_engine, "after_cursor_execute", heard)
    yield gone
    event.remove(store.engine.sync_engine, "after_cursor_execute", heard)


async def asked(
    store: Store,
    who: Visitor,
    *questions: str,
    at: int = 1_000,
    sources: Sequence[str] = (),
    message: str = "",
) -> str:
    """A conversation of these questions; its ID."""
    conversation = f"{next(_numbers):032x}"
    async with store.writing("test") as connection:
        row = {
            "id": conversation,
            "visitor": who.id,
            "title": questions[0],
            "created_at": at,
            "updated_at": at,
        }
        await table.begin(connection, row)
        for number, question in enumerate(questions):
            turn = Turn(
                id=f"{next(_numbers):032x}",
                conversation=conversation,
                message_id=message or f"m{next(_numbers)}",
                request_id=None,
                asked="",
                question=question,
                state="done",
                answer=f"Answer to {question}",
                sources=orjson.dumps([{"id": source, "url": ""} for source in sources]).decode(),
                metadata=None,
                created_at=at + number,
                alive_until=0,
            )
            assert await turns.begin(connection, turn, who.id)
    return conversation


async def test_they_are_listed_page_by_page_the_newest_first(database: Store, service: Conversations) -> None:
    made = [
        await asked(database, visitor(), f"Question {number}", at=1_000 + number // 2) for number in range(7)
    ]
    seen: list[str] = []
    behind = None
    while True:
        page = await service.page(visitor(), 3, behind)
        seen += [found.id for found in page.conversations]
        if not page.more:
            break
        behind = seen[-1]
    # Two of each moment: among those, the ID decides.
    assert seen == sorted(made, key=lambda found: (1_000 + made.index(found) // 2, found), reverse=True)


async def test_what_is_anothers_is_not_there(database: Store, service: Conversations) -> None:
    mine = await asked(database, visitor("a"), "Mine?")
    stranger = visitor("b")
    assert (await service.page(stranger, 10, None)).conversations == []
    for attempt in (
        service.read(stranger, mine),
        service.rename(stranger, mine, "Theirs"),
        service.save(stranger, mine, None),
        service.delete(stranger, mine),
        service.page(stranger, 10, mine),
        service.take_along(stranger, mine, "json"),
    ):
        with pytest.raises(NotFound):
            await attempt
    found, told = await service.read(visitor("a"), mine)
    assert (found.title, found.saved_at, len(told)) == ("Mine?", None, 1)


async def test_it_is_read_in_the_order_asked_under_the_title_it_was_given(
    database: Store, service: Conversations
) -> None:
    conversation = await asked(database, visitor(), "One?", "Two?", "Three?")
    await service.rename(visitor(), conversation, "Numbers")
    found, told = await service.read(visitor(), conversation)
    assert found.title == "Numbers"
    assert [turn.question for turn in told] == ["One?", "Two?", "Three?"]


async def test_what_is_forgotten_goes_a_little_at_a_time_and_all_of_it(
    database: Store, service: Conversations, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "AT_ONCE", 3)
    for number in range(8):
        await asked(database, visitor(), f"{number}?", at=clock.now)
    clock.now += 31 * DAY
    with events() as written, deletions(database) as gone:
        await service.forget(30 * DAY)
    assert gone == [3, 3, 2]
    assert (await service.page(visitor(), 10, None)).conversations == []
    assert [line["count"] for line in written if line["event"] == "chats_forgotten"] == [8]


async def test_what_is_saved_stays_and_the_rest_is_forgotten_in_time(
    database: Store, service: Conversations, clock: Clock
) -> None:
    old, saved = [await asked(database, visitor(), f"{name}?", at=clock.now) for name in ("Old", "Saved")]
    await service.save(visitor(), saved, "Kept")
    clock.now += 31 * DAY
    new = await asked(database, visitor(), "New?", at=clock.now)
    await service.forget(30 * DAY)
    left = {found.id: found.title for found in (await service.page(visitor(), 10, None)).conversations}
    assert left == {saved: "Kept", new: "New?"}
    assert old not in left
    async with database.reading("test") as connection:
        assert await table.turns_of(connection, old, 10) == []


async def test_all_of_a_visitors_conversations_move_even_when_both_used_a_message_id(
    database: Store, service: Conversations
) -> None:
    anonymous, account = visitor("a"), visitor("b")
    theirs = [
        await asked(database, anonymous, "One?", message="same"),
        await asked(database, anonymous, "Two?"),
    ]
    own = await asked(database, account, "Own?", message="same")
    async with database.writing("test") as connection:
        assert await table.move(connection, anonymous.id, account.id) == 2
    async with database.writing("test") as connection:
        assert await table.move(connection, anonymous.id, account.id) == 0
    assert {found.id for found in (await service.page(account, 10, None)).conversations} == {*theirs, own}
    assert (await service.page(anonymous, 10, None)).conversations == []
    async with database.reading("test") as connection:
        kept = await turns.find(connection, account.id, "same")
    assert kept is not None
    assert kept.question == "Own?"


def _passage(name: str, score: float) -> Passage:
    return Passage(f"{name}-1", name.title(), f"docs/{name}.md", f"All about {name}.", score)


async def test_what_bears_on_the_last_questions_is_recommended_unless_it_was_shown(
    database: Store, clock: Clock
) -> None:
    shelf = Shelf(
        keys=[_passage("rotation", 0.8), _passage("shown", 0.9), _passage("doors", 0.1)],
        logs=[_passage("tracing", 0.8)],
    )
    service = Conversations(database, shelf, clock)
    await asked(database, visitor(), "about keys", at=1_000, sources=["shown-1"])
    await asked(database, visitor(), "about logs", at=2_000)
    found = await service.recommend(visitor(), 5)
    assert [(page.title, page.because) for page in found] == [
        ("Tracing", "about logs"),
        ("Rotation", "about keys"),
    ]
    assert all(0 < page.score <= 1 for page in found)
    assert len(await service.recommend(visitor(), 1)) == 1
    assert await service.recommend(visitor("b"), 5) == []
