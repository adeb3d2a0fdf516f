"""What is true of PostgreSQL only: everything has an end, every failure has a name, and nothing needs a restart of ours."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event, text

from server.store import postgres as side
from server.store.engine import Store, StoreUnavailable
from tests.databases import PostgresDatabases
from tests.harness import free_port, needs
from tests.postgres import PASSWORD, ROLE, Postgres
from tests.proxy import proxying
from tests.reading_log import events
from tests.waiting import ENOUGH_SECONDS


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The name of an empty database."""
    made = PostgresDatabases(postgres, "template1")
    yield made(empty=True).rpartition("/")[2]
    made.drop()


@pytest.fixture
async def store(postgres: Postgres, database: str) -> AsyncIterator[Store]:
    opened = Store(postgres.url(database), connections=4)
    yield opened
    await opened.close()


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A PostgreSQL that a test may kill."""
    server = Postgres()
    try:
        yield server.start()
    finally:
        server.close()


@contextmanager
def failing(*statuses: str) -> Iterator[None]:
    """Within the block the store becomes unavailable, and the log gives one of `statuses` as the reason; no password anywhere."""
    with events() as written, pytest.raises(StoreUnavailable) as refused:
        yield
    told = [event["status"] for event in written if event["outcome"] == "failed"]
    assert len(told) == 1
    assert told[0] in statuses
    seen: BaseException | None = refused.value
    while seen is not None:
        assert PASSWORD not in repr(seen)
        seen = seen.__cause__ or seen.__context__


async def _asked(store: Store, sql: str) -> list[tuple[Any, ...]]:
    async with store.fetching("test") as fetch:
        return [tuple(row) for row in await fetch(sql, ())]


async def test_a_connection_has_the_promised_settings(store: Store) -> None:
    names = ("application_name", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    assert [(await _asked(store, f"SHOW {name}"))[0][0] for name in names] == ["chatkit", "5s", "4s", "30s"]


async def test_what_stands_in_the_address_wins_and_a_patient_store_waits_longer(
    postgres: Postgres, database: str
) -> None:
    for options, patient, expected in (
        ("?statement_timeout=7s&application_name=shop", False, ("shop", "7s", "4s")),
        ("", True, ("chatkit", "10min", "10min")),
    ):
        store = Store(postgres.url(database) + options, patient=patient)
        names = ("application_name", "statement_timeout", "lock_timeout")
        assert tuple([(await _asked(store, f"SHOW {name}"))[0][0] for name in names]) == expected
        await store.close()


async def test_a_statement_that_may_take_longer_is_waited_for_longer(
    postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side, "STATEMENT_SECONDS", 0.1)
    monkeypatch.setattr(side, "SILENCE_SECONDS", 0.1)
    for limit in ("20s", "20000", "1min", "0"):
        store = Store(postgres.url(database) + f"?statement_timeout={limit}")
        assert len(await _asked(store, "SELECT pg_sleep(0.4)")) == 1
        await store.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_every_form_of_the_address_opens_the_same_database(
    postgres: Postgres, database: str, scheme: str
) -> None:
    store = Store(postgres.url(database).replace("postgresql", scheme, 1))
    assert await _asked(store, "SELECT current_database()::text") == [(database,)]
    await store.close()


async def test_reading_begins_no_transaction_and_writing_one(store: Store) -> None:
    mine = text("SELECT pg_current_xact_id()::text")  # the ID of the transaction
    async with store.reading("test") as connection:
        seen = {(await connection.execute(mine)).scalar_one() for _ in range(3)}
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        assert not driver.is_in_transaction()
    assert len(seen) == 3
    async with store.writing("test") as connection:
        assert len({(await connection.execute(mine)).scalar_one() for _ in range(3)}) == 1


async def test_a_connection_that_waits_in_the_pool_is_in_no_transaction(
    store: Store, postgres: Postgres, database: str
) -> None:
    for use in (store.reading, store.writing):
        async with use("test") as connection:
            await connection.execute(text("SELECT 1"))
    states = postgres.psql(f"SELECT DISTINCT state FROM pg_stat_activity WHERE datname = '{database}'")
    assert states == "idle"


async def test_no_more_connections_than_were_allowed(store: Store, postgres: Postgres, database: str) -> None:
    await asyncio.gather(*(_asked(store, "SELECT pg_sleep(0.02)") for _ in range(30)))
    count = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"
    assert 1 <= int(postgres.psql(count)) <= 4


# ── What cannot be reached ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        (("PORT", "{free}"), ("ECONNREFUSED",)),
        (("127.0.0.1", "no-such-host.invalid"), ("NAME_NOT_RESOLVED",)),
        ((PASSWORD, "wrong"), ("28P01",)),
        ((ROLE + ":", "nobody:"), ("28P01", "28000")),
        (("DATABASE", "no_such_database"), ("3D000",)),
        (("DATABASE", "{database}?sslmode=require"), ("CONNECTION_FAILED",)),
        (("DATABASE", "{database}?no_such_setting=1"), ("42704",)),
        (("DATABASE", "{database}?sslmode=perhaps"), ("BAD_ADDRESS",)),
    ],
)
async def test_a_database_that_takes_no_connection_is_unavailable_and_the_log_says_why(
    postgres: Postgres, database: str, change: tuple[str, str], statuses: tuple[str, ...]
) -> None:
    before, after = change
    placed = {"PORT": str(postgres.port), "DATABASE": database}
    after = after.format(free=free_port(), database=database)
    url = postgres.url(database)
    head, _, tail = url.rpartition(placed.get(before, before))
    store = Store(head + after + tail)
    with failing(*statuses):
        await store.ping()
    await store.close()


async def test_an_address_where_nobody_answers_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side, "CONNECT_SECONDS", 0.2)
    async with proxying(free_port()) as proxy:
        proxy.stall()
        store = Store(f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{proxy.port}/any")
        with failing("TIMEOUT"):
            await store.ping()
        await store.close()


async def test_a_server_that_falls_silent_right_after_it_was_reached_is_given_up_in_time(
    postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side, "STATEMENT_SECONDS", 0.3)
    monkeypatch.setattr(side, "SILENCE_SECONDS", 0.2)
    reached = asyncpg.connect
    async with proxying(postgres.port) as proxy:

        async def connect(*arguments: Any, **options: Any) -> Any:
            connection = await reached(*arguments, **options)
            proxy.stall()
            return connection

        monkeypatch.setattr(asyncpg, "connect", connect)
        store = Store(postgres.url(database, proxy.port))
        with failing("TIMEOUT"):
            async with asyncio.timeout(20):
                await store.ping()
        monkeypatch.undo()
        proxy.flow()
        await store.ping()
        await store.close()


async def test_when_the_server_has_no_connection_left_it_is_unavailable(own: Postgres) -> None:
    own.stop()
    own._configuration |= {"max_connections": "5", "superuser_reserved_connections": "2"}
    own.start()
    url = own.url(own.database())
    taken = [await asyncpg.connect(url) for _ in range(3)]
    store = Store(url)
    with failing("53300"):
        await store.ping()
    await asyncio.gather(*(connection.close() for connection in taken))
    await _until_well(store)
    await store.close()


async def _until_well(store: Store) -> None:
    """A database that has just come back takes a moment."""
    async with asyncio.timeout(ENOUGH_SECONDS):
        while True:
            try:
                await store.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_database_of_another_encoding_is_refused_with_what_it_has_to_be(postgres: Postgres) -> None:
    postgres.psql(f"CREATE DATABASE latin OWNER {ROLE} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    store = Store(postgres.url("latin"))
    with failing("WRONG_ENCODING"):
        await store.ping()
    await store.close()
    postgres.drop("latin")


# ── What takes too long ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(
    postgres: Postgres, database: str
) -> None:
    store = Store(postgres.url(database) + "?statement_timeout=100ms")
    with failing("57014"):
        await _asked(store, "SELECT pg_sleep(30)")
    with failing("57014"):
        async with store.writing("test") as connection:
            await connection.execute(text("SELECT pg_sleep(30)"))
    await store.ping()
    await store.close()


async def test_a_lock_that_is_not_to_be_had_is_given_up(postgres: Postgres, database: str) -> None:
    store = Store(postgres.url(database) + "?lock_timeout=100ms")
    async with store.writing("make") as connection:
        await connection.execute(text("CREATE TABLE t (x integer)"))
    async with store.writing("test") as connection:
        await connection.execute(text("LOCK TABLE t"))
        with failing("55P03"):
            await _asked(store, "SELECT * FROM t")
    await store.close()


async def test_two_that_wait_for_each_other_are_one_that_fails_and_one_that_goes_on(store: Store) -> None:
    async with store.writing("make") as connection:
        await connection.execute(text("CREATE TABLE t (id integer PRIMARY KEY, x integer)"))
        await connection.execute(text("INSERT INTO t VALUES (1, 0), (2, 0)"))
    both = asyncio.Barrier(2)

    async def write(first: int, second: int) -> None:
        async with store.writing("test") as connection:
            await connection.execute(text("UPDATE t SET x = x + 1 WHERE id = :id"), {"id": first})
            await both.wait()
            await connection.execute(text("UPDATE t SET x = x + 1 WHERE id = :id"), {"id": second})

    with events() as written:
        ended = await asyncio.gather(write(1, 2), write(2, 1), return_exceptions=True)
    assert sorted(map(type, ended), key=str) == sorted([StoreUnavailable, type(None)], key=str)
    assert [event["status"] for event in written if event["outcome"] == "failed"] == ["40P01"]
    assert await _asked(store, "SELECT x FROM t ORDER BY id") == [(1,), (1,)]


async def test_a_transaction_that_does_nothing_is_ended(postgres: Postgres, database: str) -> None:
    store = Store(postgres.url(database) + "?idle_in_transaction_session_timeout=100ms")
    with failing("25P03", "CONNECTION_CLOSED"):
        async with store.writing("test") as connection:
            await connection.execute(text("SELECT 1"))
            await asyncio.sleep(0.5)
            await connection.execute(text("SELECT 1"))
    await store.ping()
    await store.close()


@pytest.mark.parametrize("way", ["fetching", "reading", "writing"])
async def test_a_server_that_does_not_answer_any_more_is_given_up_and_found_again(
    postgres: Postgres, database: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side, "STATEMENT_SECONDS", 0.3)
    monkeypatch.setattr(side, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(side, "CONNECT_SECONDS", 0.3)
    async with proxying(postgres.port) as proxy:
        store = Store(postgres.url(database, proxy.port) + "?statement_timeout=300ms")

        async def use() -> None:
            if way == "fetching":
                await _asked(store, "SELECT 1")
                return
            async with getattr(store, way)("test") as connection:
                await connection.execute(text("SELECT 1"))

        await asyncio.gather(*(use() for _ in range(3)))
        proxy.stall()
        with failing("TIMEOUT"):
            await use()
        proxy.flow()
        await use()
        await store.close()


@pytest.mark.parametrize("way", ["fetching", "reading", "writing"])
async def test_who_gives_up_on_a_connection_that_was_lost_leaves_the_pool_fit(
    postgres: Postgres, database: str, way: str
) -> None:
    async with proxying(postgres.port) as proxy:
        store = Store(postgres.url(database, proxy.port), connections=2)

        async def use() -> None:
            if way == "fetching":
                await _asked(store, "SELECT 1")
                return
            async with getattr(store, way)("test") as connection:
                await connection.execute(text("SELECT 1"))

        await asyncio.gather(use(), use())
        proxy.lose()
        tasks = [asyncio.create_task(use()) for _ in range(4)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(5):  # less than what a statement may take
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(use(), use(), use())
        await store.close()


# ── What comes and goes ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_connections_that_were_closed_while_nobody_used_them_cost_no_request(
    store: Store, postgres: Postgres, database: str
) -> None:
    await asyncio.gather(*(_asked(store, "SELECT pg_sleep(0.05)") for _ in range(4)))
    postgres.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    await asyncio.sleep(0.2)  # the loop hears of it
    with events() as written:
        await asyncio.gather(*(_asked(store, "SELECT 1") for _ in range(4)))
    assert written == []


async def test_connections_that_are_closed_as_quickly_as_they_are_opened_are_an_outage(store: Store) -> None:
    def close(connection: Any, _: object) -> None:
        connection.driver_connection.terminate()

    event.listen(store.engine.sync_engine, "connect", close)
    for use in (store.fetching, store.reading, store.writing):
        with failing("CONNECTION_CLOSED"):
            async with use("test"):
                raise AssertionError  # it was let in
    event.remove(store.engine.sync_engine, "connect", close)
    await store.ping()


async def test_a_connection_that_is_closed_in_the_middle_of_a_statement_is_an_outage_of_one_request(
    store: Store, postgres: Postgres, database: str
) -> None:
    asked = asyncio.create_task(_asked(store, "SELECT pg_sleep(4)"))
    who = f"FROM pg_stat_activity WHERE datname = '{database}' AND query LIKE '%pg_sleep(4)%' AND state = 'active'"
    with failing("57P01", "CONNECTION_CLOSED"):
        while not await asyncio.to_thread(postgres.psql, f"SELECT pg_terminate_backend(pid) {who}"):
            await asyncio.sleep(0.02)
        await asked
    assert await _asked(store, "SELECT 1") == [(1,)]


async def test_a_network_that_breaks_in_the_middle_of_a_transaction_leaves_nothing_of_it(
    postgres: Postgres, database: str
) -> None:
    async with proxying(postgres.port) as proxy:
        store = Store(postgres.url(database, proxy.port))
        async with store.writing("make") as connection:
            await connection.execute(text("CREATE TABLE t (x integer)"))
        with failing("08003", "08006", "ECONNRESET", "CONNECTION_CLOSED"):
            async with store.writing("test") as connection:
                await connection.execute(text("INSERT INTO t VALUES (1)"))
                proxy.cut()
                await connection.execute(text("INSERT INTO t VALUES (2)"))
        assert await _asked(store, "SELECT * FROM t") == []
        await store.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
async def test_a_server_that_stops_and_starts_again_needs_nothing_of_ours(
    own: Postgres, number: signal.Signals
) -> None:
    store = Store(own.url(own.database()))
    await asyncio.gather(*(_asked(store, "SELECT pg_sleep(0.05)") for _ in range(4)))
    own.stop(number)
    await asyncio.sleep(0.2)
    with failing("ECONNREFUSED", "57P01", "57P02", "57P03", "08003", "08006", "CONNECTION_CLOSED"):
        await store.ping()
    own.start()
    with events() as written:
        await asyncio.gather(*(_asked(store, "SELECT 1") for _ in range(4)))
    assert written == []
    await store.close()


async def test_a_standby_takes_no_writes(store: Store) -> None:
    with failing("25006"):
        async with store.writing("test") as connection:
            await connection.execute(text("SET TRANSACTION READ ONLY"))
            await connection.execute(text("CREATE TABLE t (x integer)"))


async def test_a_role_that_may_not_is_told_as_the_operators_fault_not_as_a_bug(
    store: Store, postgres: Postgres, database: str
) -> None:
    postgres.psql("CREATE TABLE secret (x integer)", database)
    with failing("42501"):
        await _asked(store, "SELECT * FROM secret")


def run(*command: str) -> None:
    subprocess.run(command, check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
async def test_a_full_disk_refuses_writes_and_serves_reads_until_there_is_room(
    own: Postgres,
) -> None:
    disk = own.folder / "disk"
    disk.mkdir()
    run(needs("mount"), "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk))
    try:
        (disk / "space").mkdir()
        run("chown", "-R", "postgres:postgres", str(disk))
        own.psql(f"CREATE TABLESPACE small OWNER {ROLE} LOCATION '{disk}/space'")
        store = Store(own.url(own.database()))
        async with store.writing("make") as connection:
            await connection.execute(text("CREATE TABLE t (x text) TABLESPACE small"))
            await connection.execute(text("INSERT INTO t VALUES ('kept')"))
        with failing("53100"):
            async with store.writing("test") as connection:
                await connection.execute(
                    text("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
                )
        assert await _asked(store, "SELECT x FROM t") == [("kept",)]
        run("mount", "-o", "remount,size=100m", str(disk))
        async with store.writing("test") as connection:
            await connection.execute(
                text("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
            )
        await store.close()
    finally:
        own.stop(signal.SIGQUIT)
        run("umount", "-l", str(disk))
