"""What is wrong with the database while a document's command runs; see `faults`."""

import json
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from alembic.command import downgrade
from sqlalchemy import create_engine

from server.store import migrate
from tests.docs.asking import ask, ask_question, started_with, until_ready, until_unready
from tests.harness import ServerProcess
from tests.postgres import Postgres
from tests.waiting import until


def database_gone(server: ServerProcess) -> Iterator[None]:
    """The database's file is not where it was."""
    file = server.folder / "var" / "chatkit.db"
    away = file.with_suffix(".away")
    file.rename(away)
    until_unready(server, "database_disconnected")
    yield
    file.unlink(missing_ok=True)  # what a curious program may have made in its place
    away.rename(file)


def database_replaced(server: ServerProcess) -> Iterator[None]:
    """Another file lies where the database's was."""
    file = server.folder / "var" / "chatkit.db"
    away = file.with_suffix(".away")
    file.rename(away)
    file.write_bytes(away.read_bytes())
    until_unready(server, "database_disconnected")
    yield
    away.replace(file)


def database_deleted(server: ServerProcess) -> Iterator[None]:
    """The database's file was deleted while the server runs, which holds it still. Whoever rescues it finds what was written last."""
    asked = json.loads(ask_question(server))
    file = server.folder / "var" / "chatkit.db"
    file.unlink()
    until_unready(server, "database_disconnected")
    yield
    server.stop()
    for end in ("", "-wal"):
        (server.folder / f"rescued.db{end}").replace(file.with_name(f"chatkit.db{end}"))
    server.start()
    _remembers(server, asked)


def database_lost(server: ServerProcess) -> Iterator[None]:
    """The server is stopped, and of its database a backup is left. Whoever brings that back finds what was in it."""
    asked = json.loads(ask_question(server))
    done = server.command("server", "backup", "chatkit.backup")
    assert done.returncode == 0, done.stderr.decode()
    server.stop()
    file = server.folder / "var" / "chatkit.db"
    file.write_bytes(b"lost")
    yield
    server.start()
    _remembers(server, asked)


def _remembers(server: ServerProcess, asked: dict[str, Any]) -> None:
    """What was answered is kept for who asked it."""
    told = ask(server, "/api/v1/conversations", "GET", Authorization=f"Bearer {asked['session']['token']}")
    assert asked["conversation_id"] in told.decode(), "what was kept is there again"


def database_old(server: ServerProcess) -> Iterator[None]:
    """The server is stopped, and its database has the shape that the version before this one gave it."""
    server.stop()
    older = migrate.configuration()
    engine = create_engine(f"sqlite:///{server.folder / 'var' / 'chatkit.db'}")
    with engine.begin() as connection:
        older.attributes["connection"] = connection
        downgrade(older, "-1")
    engine.dispose()
    yield


def database_damaged(server: ServerProcess) -> Iterator[None]:
    """The server is stopped, and the beginning of its database is not a database's."""
    server.stop()
    file = server.folder / "var" / "chatkit.db"
    whole = file.read_bytes()
    file.write_bytes(b"\0" * 4096 + whole[4096:])
    yield
    file.write_bytes(whole)


def no_documents(server: ServerProcess) -> Iterator[None]:
    """Nothing has been ingested."""
    server.stop()
    for name in ("chatkit.db", "chatkit.db-wal", "chatkit.db-shm"):
        (server.folder / "var" / name).unlink(missing_ok=True)
    server.start()
    yield


def on_postgresql(server: ServerProcess) -> Iterator[None]:
    """Nothing is wrong: the documents are in PostgreSQL, which the reader may also ask as its superuser."""
    with _documents_in_postgresql(server):
        yield


def postgresql_gone(server: ServerProcess) -> Iterator[None]:
    """The documents are in PostgreSQL, and that was stopped."""
    with _documents_in_postgresql(server) as database:
        database.stop()
        until_unready(server, "database_disconnected")
        yield
        database.start()
        until_ready(server)


def postgresql_locked(server: ServerProcess) -> Iterator[None]:
    """The documents are in PostgreSQL, where somebody has locked them in a transaction that does not end, and a question waits."""
    with _documents_in_postgresql(server) as database:
        held = subprocess.Popen(
            [
                "psql",
                server.settings["DATABASE_URL"],
                "-c",
                "BEGIN; LOCK TABLE documents; SELECT pg_sleep(600)",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        waits = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
        asks = Thread(target=_ask_until, args=(server, held))
        asks.start()
        until(lambda: database.psql(waits) != "0", "somebody waits for the lock")
        yield
        held.kill()
        held.wait()
        asks.join()


def _ask_until(server: ServerProcess, ended: "subprocess.Popen[bytes]") -> None:
    """Ask again and again, so that there is always a question that waits."""
    while ended.poll() is None:
        ask(
            server,
            "/api/v1/chat",
            "POST",
            b'{"message": "When does the office open?"}',
            Content_Type="application/json",
        )


def postgresql_is_new(server: ServerProcess) -> Iterator[None]:
    """PostgreSQL has been installed, and nothing is in it yet; the reader is its superuser."""
    database = Postgres().start()
    database.psql("DROP ROLE chatkit")
    server.settings |= database.superuser()
    try:
        yield
    finally:
        for name in database.superuser():
            del server.settings[name]
        database.close()


@contextmanager
def _documents_in_postgresql(server: ServerProcess) -> Generator[Postgres]:
    """Within the block the server is on a PostgreSQL of its own that holds the reader's handbook."""
    database = Postgres().start()
    try:
        url = database.url(database.database())
        with started_with(server, DATABASE_URL=url, **database.superuser()):
            done = server.command("server", "ingest", "handbook")
            assert done.returncode == 0, done.stderr
            yield database
            server.stop()
        server.start()
    finally:
        database.close()
