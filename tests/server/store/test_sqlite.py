"""What is true of SQLite only; what it shares with PostgreSQL is in `tests/contract/test_store.py`."""

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import text

from server.store import engine, sqlite
from server.store.engine import Store, StoreUnavailable
from server.store.sqlite_connection import Connection
from tests.faults.disks import filled, tmpfs
from tests.reading_log import events


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(f"sqlite+aiosqlite:///{tmp_path}/new/folder/chatkit.db")
    yield opened
    await _closed(opened)


async def _closed(store: Store) -> None:
    """Close `store`, and leave the loop to the threads of connections that failed: aiosqlite does not wait for those."""
    await store.close()
    for _ in range(100):
        if not [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]:
            return
        await asyncio.sleep(0.02)


def _file(store: Store) -> Path:
    assert store.engine.url.database is not None
    return Path(store.engine.url.database)


async def _count(store: Store) -> int:
    async with store.fetching("test") as fetch:
        return int((await fetch("SELECT count(*) FROM t", ()))[0][0])


async def _with_table(store: Store) -> None:
    async with store.writing("test") as connection:
        await connection.exec_driver_sql("CREATE TABLE t (x)")


async def test_a_connection_has_the_promised_settings(store: Store) -> None:
    async with store.fetching("test") as fetch:
        values = {
            name: (await fetch(f"PRAGMA {name}", ()))[0][0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": sqlite.BUSY_MS,
    }


async def test_the_folder_is_made_and_nothing_is_connected_before_the_first_use(store: Store) -> None:
    assert _file(store).parent.is_dir()
    assert not _file(store).exists()
    await _with_table(store)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in _file(store).parent.iterdir()}
    assert modes == dict.fromkeys(["chatkit.db", "chatkit.db-shm", "chatkit.db-wal"], 0o600), (
        "nobody else may read it"
    )


async def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(ValueError, match="SQLite or PostgreSQL"):
        Store("mysql+aiomysql://host/name")


async def test_writers_take_turns(store: Store) -> None:
    await _with_table(store)

    async def add() -> None:
        async with store.writing("test") as connection:
            (now,) = (await connection.exec_driver_sql("SELECT count(*) FROM t")).one()
            await connection.exec_driver_sql("INSERT INTO t VALUES (?)", (now,))

    await asyncio.gather(*(add() for _ in range(30)))
    async with store.fetching("test") as fetch:
        assert [x for (x,) in await fetch("SELECT x FROM t ORDER BY x", ())] == list(range(30))


async def test_who_came_first_writes_first(store: Store) -> None:
    await _with_table(store)
    wrote: list[int] = []

    async def add(number: int) -> None:
        async with store.writing("test") as connection:
            await connection.exec_driver_sql("INSERT INTO t VALUES (?)", (number,))
            wrote.append(number)

    await asyncio.gather(*(add(number) for number in range(30)))
    assert wrote == list(range(30))


async def test_whose_turn_to_write_does_not_come_is_told_that_the_database_is_busy(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "TURN_SECONDS", 0.05)
    await _with_table(store)
    async with store.writing("first"):
        with events() as written, pytest.raises(StoreUnavailable):
            async with store.writing("second"):
                pass
    assert [(event["operation"], event["status"]) for event in written] == [("second", "SQLITE_BUSY")]
    async with store.writing("third") as connection:  # and nobody's turn is lost by it
        await connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert await _count(store) == 1


async def test_a_statement_costs_one_hop_to_the_drivers_thread(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _with_table(store)
    hops = 0
    whole = Connection.run

    async def counted(self: Connection, *arguments: Any) -> Any:
        nonlocal hops
        hops += 1
        return await whole(self, *arguments)

    monkeypatch.setattr(Connection, "run", counted)
    monkeypatch.setattr(aiosqlite.Cursor, "__init__", None)  # there is no other way
    async with store.writing("test") as connection:
        many = [{"x": number} for number in range(5)]
        assert (await connection.execute(text("INSERT INTO t VALUES (:x)"), many)).rowcount == 5
        changed = await connection.execute(text("UPDATE t SET x = x + 1 WHERE x > :x"), {"x": 1})
        assert changed.rowcount == 3
        rows = await connection.execute(text("DELETE FROM t WHERE x = 4 RETURNING x"))
        assert rows.all() == [(4,)]
        rows = await connection.execute(text("SELECT x, x * 2 AS twice FROM t ORDER BY x"))
        assert rows.keys() == {"x": 0, "twice": 1}.keys()
        assert rows.all() == [(0, 0), (1, 2), (3, 6), (5, 10)]
    assert hops == len(
        ["BEGIN", "INSERT", "UPDATE", "DELETE", "SELECT"]
    )  # the commit is the connection's own


async def test_a_locked_database_is_unavailable_and_the_log_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_PRAGMAS", ("PRAGMA busy_timeout = 50", *sqlite._PRAGMAS[1:]))
    await _with_table(store)
    other = sqlite3.connect(_file(store), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with events() as written, pytest.raises(StoreUnavailable) as refused:
        async with store.writing("replace_document"):
            pass
    other.close()

    assert refused.value.headers["Retry-After"] == "5"
    assert "lock" not in refused.value.message
    (event,) = written
    assert (event["event"], event["operation"], event["outcome"], event["status"]) == (
        "dependency_call",
        "replace_document",
        "failed",
        "SQLITE_BUSY",
    )


async def test_a_file_that_is_no_database_is_unavailable(store: Store) -> None:
    _file(store).write_bytes(b"no database " * 1_000)
    with pytest.raises(StoreUnavailable):
        await store.ping()


async def test_a_folder_that_cannot_hold_a_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "chatkit.db").mkdir()
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/chatkit.db")
    with pytest.raises(StoreUnavailable):
        await store.ping()
    await _closed(store)


async def test_a_database_deleted_under_the_server_is_noticed(store: Store) -> None:
    await store.ping()
    _file(store).unlink()
    with events() as written, pytest.raises(StoreUnavailable):
        await store.ping()
    assert [event["status"] for event in written] == ["FILE_GONE"]


async def test_nothing_is_read_from_or_written_to_a_file_that_was_replaced(
    store: Store, tmp_path: Path
) -> None:
    await _with_table(store)
    ours, away, other = _file(store), tmp_path / "away.db", tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)")
    ours.rename(away)
    other.rename(ours)
    for use in (store.reading, store.fetching, store.writing):
        with events() as written, pytest.raises(StoreUnavailable):
            async with use("test"):
                raise AssertionError("it is not there to be used")
        assert [event["status"] for event in written] == ["FILE_REPLACED"]
    away.rename(ours)
    assert await _count(store) == 0


async def test_a_full_disk_refuses_what_it_cannot_keep_loses_nothing_and_is_over_by_itself(
    tmp_path: Path,
) -> None:
    with tmpfs(tmp_path / "small", "4m") as disk:
        store = Store(f"sqlite+aiosqlite:///{disk}/chatkit.db")
        await _with_table(store)

        async def add(times: int = 1) -> None:
            for _ in range(times):
                async with store.writing("test") as connection:
                    await connection.exec_driver_sql("INSERT INTO t VALUES (zeroblob(100000))")

        await add()
        with filled(disk):
            with events() as written, pytest.raises(StoreUnavailable):
                await add(40)  # more than there can still be room for
            kept = await _count(store)
            assert [event["status"] for event in written] == ["SQLITE_FULL"]
        await add()
        assert await _count(store) == kept + 1 >= 2
        await store.close()


async def test_a_store_that_was_closed_opens_what_is_there(store: Store) -> None:
    await _with_table(store)
    await store.close()
    _file(store).unlink()
    await store.ping()
    assert _file(store).exists()


async def test_closing_writes_everything_into_the_one_file(store: Store, tmp_path: Path) -> None:
    await _with_table(store)
    await store.close()
    assert [path.name for path in _file(store).parent.iterdir()] == ["chatkit.db"]
