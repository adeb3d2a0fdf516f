"""What `python -m server` does besides serving: each command is a function, whose result is the exit status."""

import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.catalogue import Event, Field, declare
from pipeline.log import standard_error

from . import terminal
from .settings import Settings
from .steps import StepFailed, opening_database, step

if TYPE_CHECKING:
    from .store.engine import Store

declare(
    [
        Event(
            "account_signed_out",
            "WARNING",
            "`python -m server sign-out` ended every session of an account: told on standard error.",
            {"account": Field("whose"), "sessions": Field("how many held until then")},
        ),
    ]
)


async def ingest(settings: Settings, paths: list[Path], *, if_empty: bool, anew: bool) -> int:
    """Read documents; 1 when some could not be, or not every passage got its vector."""
    from .chat.ingest import ingest as ingested
    from .chat.ingest import is_empty
    from .chat.progress import showing
    from .parts import prepare_database
    from .store.engine import Store, StoreUnavailable

    with opening_database():
        await prepare_database(settings)
        store = Store(settings.database_url, patient=True)
    again = "What was ingested is kept. Does another program write, or is the disk full? Run the same command again to go on."
    try:
        with step("go on ingesting", again, StoreUnavailable):
            if if_empty and not await is_empty(store):
                return 0
            with showing() as on_progress:
                report = await ingested(store, paths, on_progress=on_progress)
            embedded = await _embed(settings, store, anew=anew)
    finally:
        await store.close()
    return 1 if report.failures or not embedded else 0


async def _embed(settings: Settings, store: "Store", *, anew: bool) -> bool:
    """Give every passage its vector, if a model that embeds is named; whether all have one then."""
    if settings.embedding_url is None:
        return True
    from .chat.embed import embed
    from .chat.progress import showing_embedding
    from .clock import wall_clock
    from .parts import embedding_model

    embeddings = embedding_model(settings)
    assert embeddings is not None
    try:
        with showing_embedding() as (on_progress, summary):
            report = await embed(store, embeddings, wall_clock, anew=anew, on_progress=on_progress)
            summary(report)
    finally:
        await embeddings.close()
    return not report.status


async def migrate(settings: Settings) -> int:
    """Bring the database to the present shape."""
    from .store.migrate import upgrade

    with opening_database():
        await upgrade(settings.database_url)
    return 0


async def backup(settings: Settings, target: Path) -> int:
    """Copy the database of `settings` to `target`; nothing else runs in this process meanwhile."""
    import sqlite3

    from .store.backup import Damaged, back_up, showing
    from .store.sqlite import database_file

    source = database_file(settings.database_url)
    what = f"back up the database to {target}"
    if source is None:
        raise StepFailed(
            what, "it is no SQLite file", "With PostgreSQL use pg_dump: see docs/how-to/use-postgresql.md."
        )
    if not source.exists():
        raise StepFailed(
            what, f"there is none at {source}", "Set DATABASE_URL to the one that the server uses."
        )
    with (
        step(
            what,
            "Is there room for a second database, in a folder that can be written?",
            OSError,
            sqlite3.Error,
        ),
        step(what, "Name a file that does not exist yet, or move this one away.", FileExistsError),
        step(what, "The database itself is damaged: see docs/OPS_RUNBOOK.md, section 6.", Damaged),
        showing(source, target) as on_progress,
    ):
        back_up(source, target, on_progress)
    return 0


async def mail(settings: Settings, address: str) -> int:
    """Put a test letter into the outbox, and print the ID that its events will have."""
    from uuid import uuid4

    from .errors import InvalidEmail
    from .mail import trial
    from .mail.address import normalized
    from .store import outbox

    with step("send a letter", "Give an address such as ada@example.com.", InvalidEmail):
        to = normalized(address)
    request_id = str(uuid4())
    with opening_database():
        store = await _present(settings)
        try:
            async with store.writing("put_mail", durable=True) as connection:
                await outbox.add(connection, trial.KIND, to, "", request_id=request_id, now=time.time())
        finally:
            await store.close()
    sys.stdout.write(f"{request_id}\n")
    return 0


async def sign_out(settings: Settings, address: str) -> int:
    """End every session of an account; the running server asks the database each time, so nothing else has to be told."""
    from .clock import wall_clock
    from .errors import InvalidEmail
    from .mail.address import normalized
    from .store import accounts

    what = "end the sessions of that account"
    with step(what, "Give an address such as ada@example.com.", InvalidEmail):
        email = normalized(address)
    with opening_database():
        store = await _present(settings)
        try:
            async with store.writing("end_sessions", durable=True) as connection:
                ended = await accounts.end_all(connection, email, wall_clock())
        finally:
            await store.close()
    if ended is None:
        raise StepFailed(what, "no account has that address", "Is it written as it was when they signed up?")
    account, sessions = ended
    if terminal.is_watched():
        terminal.console().print(f"  Ended: {sessions} sessions of {email}.", markup=False)
    else:
        standard_error.warning("account_signed_out", account=account, sessions=sessions)
    return 0


async def _present(settings: Settings) -> "Store":
    """The database, which has to be there in its present shape."""
    from .store.engine import Store
    from .store.migrate import obstacle as obstacle_to

    obstacle = await obstacle_to(settings.database_url)
    if obstacle is not None:
        raise StepFailed("use the database", *obstacle)
    return Store(settings.database_url, create=False)


def check(settings: Settings) -> int:
    """Show the settings in force: a table for people, JSON for programs."""
    from .settings import masked, table

    rows = masked(settings)
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        view = Table("setting", "in force", "what it is", box=None, pad_edge=False)
        for name, _, _, text in table():
            view.add_row(name, rows[name], text)
        Console().print(view)
    else:
        import orjson

        sys.stdout.buffer.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return 0


def new_key() -> int:
    """The key alone on standard output, so that it can be piped; what to do with it for who reads it."""
    sys.stdout.write(f"{secrets.token_urlsafe(32)}\n")
    if sys.stdout.isatty():
        sys.stderr.write(
            "Put it first in SECRET_KEY, before those that are there, by comma. See: python -m server keys --help\n"
        )
    return 0
