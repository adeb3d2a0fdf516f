"""A backup is the database as it was at one moment, whole or not there at all; and it can be brought back."""

import json
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.store import backup
from server.store.backup import Damaged, back_up
from server.store.engine import Store
from tests.faults.disks import killed_in, tmpfs
from tests.harness import ServerProcess, running, with_documents
from tests.server.chat.test_progress import shown_on_a_terminal
from tests.visitors import Visitor

ROWS = 20_000


def nothing(_done: int, _total: int) -> None:
    """Nobody looks."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A database of some megabytes."""
    path = tmp_path / "source.db"
    with closing(sqlite3.connect(path)) as first:
        first.execute("PRAGMA journal_mode = WAL")
        first.execute("CREATE TABLE t (x)")
        first.executemany("INSERT INTO t VALUES (?)", [("x" * 200,)] * (ROWS // 2))
        first.commit()
    return path


@pytest.fixture
def other(source: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who has `source` open, and has written half of its rows."""
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 200,)] * (ROWS // 2))
        connection.commit()
        assert source.with_name("source.db-wal").stat().st_size > 2_000_000
        yield connection


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def test_it_is_the_database_of_one_moment_though_others_write_at_each_step(
    source: Path, other: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PAGES", 100)
    target, seen = tmp_path / "copy.db", []

    def write(done: int, total: int) -> None:
        seen.append((done, total))
        other.execute("INSERT INTO t VALUES ('later')")
        other.execute("UPDATE t SET x = 'changed' WHERE rowid = ?", (len(seen),))
        other.commit()

    size = back_up(source, target, write)
    assert len(seen) > 10
    assert [done for done, _ in seen] == sorted({done for done, _ in seen}), "it never began anew"
    assert seen[-1][0] == seen[-1][1] == size // 4096
    assert rows(target) == ROWS
    assert rows(source) == ROWS + len(seen)
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT count(*) FROM t WHERE x = 'changed'").fetchone() == (0,)


def test_without_its_transaction_it_would_begin_anew(source: Path, tmp_path: Path) -> None:
    """The control: what the writers do to a backup that SQLite is left to."""
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(tmp_path / "copy.db")) as written:
        seen: list[int] = []

        def write(_: int, left: int, total: int) -> None:
            seen.append(total - left)
            if len(seen) < 5:
                with closing(sqlite3.connect(source)) as other, other:
                    other.execute("INSERT INTO t VALUES ('later')")

        read.backup(written, pages=100, progress=write)
    assert seen != sorted(set(seen))


@pytest.mark.usefixtures("other")
def test_a_plain_copy_of_the_file_misses_what_was_written_last(source: Path, tmp_path: Path) -> None:
    """The control: why there is a command."""
    (tmp_path / "plain.db").write_bytes(source.read_bytes())
    back_up(source, tmp_path / "copy.db", nothing)
    assert rows(tmp_path / "plain.db") == ROWS // 2
    assert rows(tmp_path / "copy.db") == ROWS


async def test_it_is_one_file_that_only_its_owner_reads_and_a_store_opens(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "kept" / "copy.db"
    target.parent.mkdir()
    assert back_up(source, target, nothing) == target.stat().st_size
    assert [path.name for path in target.parent.iterdir()] == ["copy.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    store = Store(f"sqlite+aiosqlite:///{target}", create=False)
    await store.ping()
    await store.close()


def test_what_is_there_already_is_left_alone(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("an older one")
    with pytest.raises(FileExistsError):
        back_up(source, target, nothing)
    assert target.read_text() == "an older one"


def test_a_damaged_database_has_no_backup(source: Path, tmp_path: Path) -> None:
    content = bytearray(source.read_bytes())
    for page in range(10, 20):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    source.write_bytes(content)
    with pytest.raises(Damaged):
        back_up(source, tmp_path / "copy.db", nothing)
    assert left(tmp_path) == []


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if "copy" in path.name]


def test_a_full_disk_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "2m") as disk:
        with pytest.raises(sqlite3.OperationalError, match="full"):
            back_up(source, disk / "copy.db", nothing)
        assert left(disk) == []


@pytest.mark.parametrize("call", ["pwrite64", "fsync", "rename"])
def test_who_is_killed_leaves_no_backup_and_is_in_nobodys_way(
    source: Path, tmp_path: Path, call: str
) -> None:
    script = "import sys; from pathlib import Path; from server.store.backup import back_up; back_up(*map(Path, sys.argv[1:]), lambda *_: None)"
    target = tmp_path / "to" / "copy.db"
    target.parent.mkdir()
    killed_in(call, [sys.executable, "-c", script, source, target])
    assert not target.exists()
    assert left(target.parent) == [".copy.db.unfinished"]
    back_up(source, target, nothing)
    assert left(target.parent) == ["copy.db"]
    assert rows(target) == ROWS // 2


def test_what_was_kept_when_it_was_made_is_there_when_it_is_brought_back(
    tmp_path: Path, documents: Path
) -> None:
    with_documents(tmp_path, documents)
    with running(tmp_path) as server:
        visitor = Visitor(server)
        visitor.sign_in("ada@example.com")
        before = visitor.ask()["conversation_id"]
        done = server.command("server", "backup", "kept.db")
        assert done.returncode == 0, done.stderr.decode()
        told = json.loads(done.stderr)
        assert (told["event"], told["path"]) == ("database_backed_up", "kept.db")
        assert told["bytes"] == (tmp_path / "kept.db").stat().st_size
        after = visitor.ask()["conversation_id"]
        server.stop()
        (tmp_path / "kept.db").rename(tmp_path / "var" / "chatkit.db")
        server.start()
        found = [one["id"] for one in visitor.get("/conversations").json()["conversations"]]
    assert before in found
    assert after not in found


def on_postgresql(_: Path) -> dict[str, str]:
    return {"DATABASE_URL": "postgresql://chatkit:secret@127.0.0.1/chatkit"}


def there_is_none(_: Path) -> dict[str, str]:
    return {"DATABASE_URL": "sqlite+aiosqlite:///elsewhere.db"}


def it_is_there(folder: Path) -> dict[str, str]:
    (folder / "to" / "copy.db").write_text("older")
    return {}


def no_folder(folder: Path) -> dict[str, str]:
    (folder / "to").rmdir()
    return {}


def no_database(folder: Path) -> dict[str, str]:
    (folder / "var" / "chatkit.db").write_bytes(b"no database " * 1000)
    return {}


@pytest.mark.parametrize(
    ("wrong", "reason", "fix"),
    [
        (on_postgresql, "it is no SQLite file", "pg_dump"),
        (there_is_none, "there is none at elsewhere.db", "DATABASE_URL"),
        (it_is_there, "to/copy.db exists", "does not exist yet"),
        (no_folder, "No such file or directory", "folder"),
        (no_database, "file is not a database", "damaged"),
    ],
)
def test_what_is_in_the_way_is_said_with_what_to_do(
    source: Path, tmp_path: Path, wrong: Callable[[Path], dict[str, str]], reason: str, fix: str
) -> None:
    for name in ("var", "to"):
        (tmp_path / name).mkdir()
    back_up(source, tmp_path / "var" / "chatkit.db", nothing)
    done = ServerProcess(tmp_path, **wrong(tmp_path)).command("server", "backup", "to/copy.db")
    assert done.returncode == 78
    told = json.loads(done.stderr)
    assert (told["event"], told["what"]) == ("start_failed", "back up the database to to/copy.db")
    assert reason in told["reason"]
    assert fix in told["fix"]
    assert b"secret" not in done.stderr


def test_on_a_terminal_it_says_what_it_did(source: Path, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    source.rename(tmp_path / "var" / "chatkit.db")
    status, shown = shown_on_a_terminal([sys.executable, "-m", "server", "backup", "copy.db"], tmp_path)
    assert status == 0
    assert b"Backed up: var/chatkit.db to copy.db, " in shown
    assert b'"event"' not in shown
