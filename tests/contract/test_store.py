"""What the store promises, whatever database is behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, String, Table, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from pipeline.context import Request, bound
from server.store import chat as documents
from server.store.chat import Document
from server.store.engine import Store, StoreUnavailable
from server.store.texts import REPLACEMENT
from tests.databases import Databases
from tests.reading_log import events
from tests.shared import naughty_strings
from tests.waiting import ENOUGH_SECONDS

if TYPE_CHECKING:
    from tests.postgres import Postgres

notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("text", String))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store that has the table `notes`, too, and at most three connections."""
    opened = Store(database_url, create=False, connections=3)
    async with opened.writing("make") as connection:
        await connection.run_sync(notes.create)
    yield opened
    await opened.close()


@asynccontextmanager
async def outage(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Within the block there is no database for anybody; who was connected is not any more."""
    address = store._url
    if store.dialect.KIND == "sqlite":
        await store.engine.dispose()
        file = Path(address.partition(":///")[2])
        away = file.rename(file.with_suffix(".away"))
        yield
        away.rename(file)
    else:
        server: Postgres = request.getfixturevalue("postgres")
        name = address.rpartition("/")[2]
        server.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        yield
        server.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def add(store: Store, text: str = "a note") -> None:
    async with store.writing("add") as connection:
        await connection.execute(notes.insert(), {"text": text})


async def count(store: Store) -> int:
    async with store.reading("count") as connection:
        return int((await connection.execute(select(func.count()).select_from(notes))).scalar_one())


async def test_what_was_written_is_read_by_either_way(store: Store) -> None:
    await add(store, "one")
    async with store.reading("read") as connection:
        assert (await connection.execute(select(notes.c.text))).scalars().all() == ["one"]
    async with store.fetching("read") as fetch:
        assert [tuple(row) for row in await fetch("SELECT text FROM notes", ())] == [("one",)]


async def test_a_block_that_raises_leaves_nothing_behind(store: Store) -> None:
    async def fail() -> None:
        async with store.writing("test") as connection:
            await connection.execute(notes.insert(), {"text": "never"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await count(store) == 0


async def test_a_cancelled_write_leaves_nothing_behind_and_no_lock(store: Store) -> None:
    await add(store, "before")
    inside = asyncio.Event()

    async def write() -> None:
        async with store.writing("test") as connection:
            await connection.execute(notes.update().values(text="never"))
            inside.set()
            await asyncio.sleep(60)

    for _ in range(7):  # more than the pool has connections
        inside.clear()
        task = asyncio.create_task(write())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(ENOUGH_SECONDS), store.writing("test") as connection:
        assert (await connection.execute(select(notes.c.text))).scalar_one() == "before"
        await connection.execute(notes.update().values(text="after"))


async def test_uses_that_are_cancelled_at_any_moment_leave_every_connection_fit(store: Store) -> None:
    for moment in range(40):
        for use in (add(store), count(store), store.ping()):
            task = asyncio.create_task(use)
            for _ in range(moment % 10):
                await asyncio.sleep(moment % 3 * 0.0005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(ENOUGH_SECONDS):
        before = await count(store)
        await asyncio.gather(*(add(store) for _ in range(12)))
        assert await count(store) == before + 12


async def test_readers_go_on_while_one_writes_and_see_what_is_committed(store: Store) -> None:
    async with store.writing("test") as connection:
        await connection.execute(notes.insert(), {"text": "soon"})
        assert await count(store) == 0
    assert await count(store) == 1


async def test_two_reads_of_one_block_see_what_was_committed_between_them(store: Store) -> None:
    async with store.reading("test") as connection:
        counted = select(func.count()).select_from(notes)
        assert (await connection.execute(counted)).scalar_one() == 0
        await add(store)
        assert (await connection.execute(counted)).scalar_one() == 1


async def test_a_bug_in_a_statement_stays_a_bug(store: Store) -> None:
    nothing = Table("nothing", MetaData(), Column("id", Integer))
    with pytest.raises(DBAPIError):
        async with store.reading("test") as connection:
            await connection.execute(select(nothing))
    with pytest.raises(Exception, match="nothing") as raised:
        async with store.fetching("test") as fetch:
            await fetch("SELECT * FROM nothing", ())
    assert not isinstance(raised.value, StoreUnavailable)
    with pytest.raises(IntegrityError):
        async with store.writing("test") as connection:
            await connection.execute(notes.insert(), [{"id": 1, "text": "a"}, {"id": 1, "text": "b"}])
    assert await count(store) == 0


async def test_an_error_tells_nothing_of_what_people_wrote(store: Store) -> None:
    async with store.writing("make") as connection:
        await connection.execute(text("CREATE UNIQUE INDEX once ON notes (text)"))
    with pytest.raises(IntegrityError) as raised:
        async with store.writing("test") as connection:
            await connection.execute(notes.insert(), [{"text": "private"}, {"text": "private"}])
    seen: BaseException | None = raised.value
    while seen is not None:
        assert "private" not in repr(seen) + str(seen)
        seen = seen.__cause__ or seen.__context__


async def test_what_the_block_itself_raises_is_not_the_databases_fault(store: Store) -> None:
    for mistake in (TimeoutError, ConnectionResetError, OSError):
        with pytest.raises(mistake):
            async with store.writing("test"):
                raise mistake


async def test_every_use_counts_towards_the_request(store: Store) -> None:
    with bound(Request("a-request")) as request:
        await count(store)
        await store.ping()
        await add(store)
    assert request.canonical["db_calls"] == 3
    assert request.canonical["db_ms"] > 0


async def test_an_outage_is_told_as_one_error_and_ends_by_itself(
    store: Store, request: pytest.FixtureRequest
) -> None:
    await add(store)
    async with outage(store, request):
        with events() as written:
            for use in (count, add, Store.ping):
                with pytest.raises(StoreUnavailable) as refused:
                    await use(store)
                assert refused.value.headers["Retry-After"] == "5"
                assert refused.value.message.startswith("This is not possible right now.")
        assert [event["operation"] for event in written] == ["count", "add", "ping"]
        assert {(event["event"], event["outcome"]) for event in written} == {("dependency_call", "failed")}
        assert all(event["status"] for event in written)
    await store.ping()
    assert await count(store) == 1


async def test_when_every_connection_is_taken_the_next_is_told_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.engine.pool, "_timeout", 0.05)
    taken = [store.reading("test") for _ in range(3)]
    for reading in taken:
        await reading.__aenter__()
    with events() as written, pytest.raises(StoreUnavailable):
        await store.ping()
    for reading in taken:
        await reading.__aexit__(None, None, None)
    assert [event["status"] for event in written] == ["POOL_EXHAUSTED"]
    await store.ping()


async def test_uses_take_turns_when_there_are_more_than_connections(store: Store) -> None:
    await asyncio.gather(*(count(store) for _ in range(50)), *(add(store) for _ in range(20)))
    assert await count(store) == 20


async def test_a_use_that_takes_long_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.store.engine.SLOW_MS", 20.0)
    with events() as written:
        await count(store)
        async with store.reading("slow"):
            await asyncio.sleep(0.03)
    told = [event for event in written if event["operation"] == "slow"]
    assert [(event["outcome"], event["duration_ms"] > 20) for event in told] == [("slow", True)]


async def test_a_closed_store_that_is_used_again_opens_again(store: Store) -> None:
    await add(store)
    await store.close()
    assert await count(store) == 1


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=st.text(st.characters(categories=None), max_size=200))
async def test_any_text_is_kept_but_for_what_no_database_can_keep(store: Store, text: str) -> None:
    kept = "".join(
        REPLACEMENT if character == "\x00" or "\ud800" <= character <= "\udfff" else character
        for character in text
    )
    async with store.writing("test") as connection:
        await connection.execute(notes.delete())
        await connection.execute(notes.insert(), {"text": text})
        await connection.execute(notes.insert(), [{"text": text}, {"text": text}])
    async with store.reading("test") as connection:
        found = await connection.execute(select(notes.c.text).where(notes.c.text == text))
        assert found.scalars().all() == [kept] * 3


async def test_every_naughty_string_is_kept(store: Store) -> None:
    strings = naughty_strings()
    async with store.writing("test") as connection:
        await connection.execute(notes.insert(), [{"text": text} for text in strings])
    async with store.reading("test") as connection:
        assert (
            list((await connection.execute(select(notes.c.text).order_by(notes.c.id))).scalars()) == strings
        )


def _document(name: str, version: str, passages: int = 3) -> Document:
    parts = [(name, f"part-{number}", f"{version} {number}") for number in range(passages)]
    return Document(name, f"/{name}", f"{name}.md", name, "text", version, "2026-01-01T00:00:00.000Z", parts)


async def _passages(store: Store) -> list[tuple[str, int, str]]:
    from server.store.tables import passages

    async with store.reading("test") as connection:
        columns = (passages.c.document_id, passages.c.position, passages.c.text)
        rows = await connection.execute(
            select(*columns).order_by(passages.c.document_id, passages.c.position)
        )
        return [(row[0], row[1], row[2]) for row in rows]


async def test_a_document_is_kept_replaced_and_removed_whole(database: Store) -> None:
    assert await documents.count(database) == 0
    await documents.replace(database, _document("b", "first"))
    await documents.replace(database, _document("a", "first", passages=1))
    await documents.replace(database, _document("b", "second", passages=2))
    assert await documents.count(database) == 2
    assert await documents.known(database) == [
        documents.Known("a", "/a", "a.md", "first"),
        documents.Known("b", "/b", "b.md", "second"),
    ]
    assert await _passages(database) == [("a", 0, "first 0"), ("b", 0, "second 0"), ("b", 1, "second 1")]
    await documents.remove(database, "b")
    await documents.remove(database, "no such document")
    assert await _passages(database) == [("a", 0, "first 0")]


async def test_a_document_without_passages_and_one_with_thousands_are_kept(database: Store) -> None:
    await documents.replace(database, _document("none", "first", passages=0))
    await documents.replace(database, _document("many", "first", passages=2_000))
    assert await documents.count(database) == 2
    assert len(await _passages(database)) == 2_000


async def test_who_replaces_and_removes_one_document_at_a_time_leaves_one_whole_version(
    databases: Databases,
) -> None:
    url = databases()
    stores = [Store(url, connections=2) for _ in range(4)]

    async def replace_often(store: Store, version: str) -> None:
        for number in range(6):
            await documents.replace(store, _document("one", f"{version}{number}", passages=3 + number))
            if version == "a" and number % 2:
                await documents.remove(store, "one")

    await asyncio.gather(
        *(replace_often(store, version) for store, version in zip(stores, "abcd", strict=True))
    )
    found = await _passages(stores[0])
    known = await documents.known(stores[0])
    assert len({text.split()[0] for _, _, text in found}) == len(known) <= 1
    if known:
        version = known[0].fingerprint
        assert found == [("one", number, f"{version} {number}") for number in range(3 + int(version[1]))]
    for store in stores:
        await store.close()


async def test_a_database_is_in_use_by_any_number_of_stores(databases: Databases) -> None:
    url = databases()
    one, other = Store(url, connections=1), Store(url, connections=1)
    await documents.replace(one, _document("a", "first"))
    assert await documents.count(other) == 1
    await one.close()
    await other.close()
