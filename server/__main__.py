"""ChatKit's server.

    python -m server                    serve (the default): the API, the widget, and a page to try it on
    python -m server ingest PATH...     read Markdown, HTML, text and PDF, so that questions can be answered from them
    python -m server migrate            bring the database to the present shape
    python -m server backup FILE        copy the SQLite database while the server runs
    python -m server mail ADDRESS       have the running server send a test letter
    python -m server sign-out ADDRESS   end every session of an account
    python -m server check              show the settings in force, and what is wrong with them
    python -m server keys new           make a key for SECRET_KEY

Settings come from the environment, .env, or config/chatkit.toml, in that order; `check` lists them all.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log, new_boot, standard_error
from pipeline.reading.reader import last_start
from pipeline.segments import lock_folder

from . import VERSION, commands
from .settings import Settings, SettingsError, load
from .steps import StepFailed, opening_database
from .unsafe import Problem

if TYPE_CHECKING:
    from .lifecycle import Group

EX_SOFTWARE = 70
"""sysexits.h: a bug."""
EX_CONFIG = 78
"""sysexits.h: something in the configuration is wrong."""

declare(
    [
        Event(
            "settings_refused",
            "ERROR",
            "The server will not start: told on standard error, before anything is opened.",
            {"problems": Field("each bad setting: `setting`, `problem`, `fix`; never a value")},
        ),
    ]
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "keys":
        return commands.new_key()
    boot = new_boot()
    _identify(boot)
    try:
        settings = load(**({} if options.workers is None else {"workers": options.workers}))
    except SettingsError as refused:
        if options.command == "check" and sys.stderr.isatty():
            _print_problems(refused.problems)
        else:
            log.error("settings_refused", problems=[problem._asdict() for problem in refused.problems])
        return EX_CONFIG
    _identify(boot, settings.fingerprint)
    match options.command:
        case "ingest":
            work = commands.ingest(
                settings, options.paths, if_empty=options.if_empty, anew=options.embed_anew
            )
            return _run(work)
        case "migrate":
            return _run(commands.migrate(settings))
        case "backup":
            return _run(commands.backup(settings, options.file))
        case "mail":
            return _run(commands.mail(settings, options.address))
        case "sign-out":
            return _run(commands.sign_out(settings, options.address))
        case "check":
            return commands.check(settings)
    return _serve(settings, boot)


def _identify(boot: str, config: str = "") -> None:
    for writes in (log, standard_error):
        writes.identify(boot=boot, version=VERSION, config=config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ChatKit {VERSION}")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="serve with N processes (default: WORKERS, or 1)"
    )
    known = parser.add_subparsers(dest="command", metavar="", title="commands")
    known.add_parser("serve", help="serve until stopped (the default)")
    ingest = known.add_parser(
        "ingest",
        help="read documents into the database",
        description="Reads Markdown, HTML, text and PDF files, and folders of them. Run it again whenever they change: "
        "what is unchanged is skipped, what has left a folder is forgotten, what is broken is reported and the rest goes on.",
        epilog="Example: python -m server ingest docs README.md",
    )
    ingest.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    ingest.add_argument(
        "--if-empty", action="store_true", help="do nothing when something has been ingested before"
    )
    ingest.add_argument(
        "--embed-anew",
        action="store_true",
        help="with EMBEDDING_MODEL: embed every passage again, because the model has changed under its name",
    )
    known.add_parser("migrate", help="bring the database to the present shape")
    backup = known.add_parser(
        "backup",
        help="copy the SQLite database while the server runs",
        description="Copies the database as it is at this moment to FILE, whole and checked; the server goes on. FILE must not exist yet, "
        "and only its owner may read it: it holds addresses and conversations. With PostgreSQL, use pg_dump.",
        epilog="To restore: stop the server, move the database's files away, put FILE in the place of the database, and start it again.",
    )
    backup.add_argument(
        "file", type=Path, metavar="FILE", help="where to; on another disk it outlives this one"
    )
    mail = known.add_parser(
        "mail",
        help="have the running server send a test letter",
        description="Puts a test letter into the outbox. The running server sends it within seconds, as it would any other; "
        "its events have the ID that this command prints.",
    )
    mail.add_argument("address", metavar="ADDRESS", help="to whom")
    sign_out = known.add_parser(
        "sign-out",
        help="end every session of an account",
        description="Ends every session of the account with that address, at once, also in a running server; a link that was sent before can "
        "still be followed. For when a token got out: see docs/OPS_RUNBOOK.md, section 4.",
    )
    sign_out.add_argument("address", metavar="ADDRESS", help="whose")
    known.add_parser("check", help="show the settings in force, and what is wrong with them")
    keys = known.add_parser(
        "keys",
        help="make a key for SECRET_KEY",
        description="Prints a new key, 256 random bits. To rotate: put it before the present one, SECRET_KEY=NEW,OLD, and start the server "
        "anew; nobody is logged out. Once the last session that the old key signed has ended (24 hours for accounts, 30 days for anonymous "
        "visitors), take the old one out. Taking it out at once ends those sessions: do that when it has leaked.",
    )
    keys.add_subparsers(dest="action", metavar="", required=True).add_parser("new", help="print a new key")
    return parser


def _run(work: Coroutine[Any, Any, int]) -> int:
    """Run `work` on uvloop where there is one."""
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(work)
        except StepFailed as failed:
            failed.tell(standard_error)
            return EX_CONFIG
        except Exception as error:
            StepFailed.unforeseen(error).tell(standard_error)
            return EX_SOFTWARE


def _serve(settings: Settings, boot: str) -> int:
    """Serve until stopped: in this process, or in several that this one watches over."""
    from .lifecycle import Group
    from .parts import opening_log, prepare_database, secret_keys

    try:
        with opening_log(settings):
            group = Group(boot, settings.workers, last_start(settings.log_dir), time.monotonic())
            lock = lock_folder(settings.log_dir) if settings.workers > 1 else contextlib.nullcontext()
        if settings.workers == 1:
            return _run(_serve_alone(settings, group))
        with lock:
            from . import workers

            secret_keys(settings)
            with opening_database():
                asyncio.run(prepare_database(settings))
            return workers.run(settings, group, partial(_announce, settings))
    except StepFailed as failed:
        failed.tell(standard_error)
        return EX_CONFIG


async def _serve_alone(settings: Settings, group: "Group") -> int:
    from .app import Server

    server = Server(settings, group)
    loop = asyncio.get_running_loop()
    asked: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.put_nowait, number)
    await server.open()
    _announce(settings, server.listening)
    reason = await asked.get()
    if not await server.stop(reason.name):
        # A thread is still in a write that does not return; waiting for it would make the stop as endless as the write.
        os._exit(1)
    return 0


def _announce(settings: Settings, listening: str) -> None:
    """Where it is, where it writes, how to trace: for people on a terminal, as an event for programs."""
    url = settings.base_url or listening
    if not sys.stderr.isatty():
        standard_error.info("server_started", url=url, listening=listening, environment=settings.environment)
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    console.print(f"\n  [bold]ChatKit {VERSION}[/]  {settings.environment}\n")
    console.print(f"  Ask it       {url}")
    if listening != url:
        console.print(f"  Listening    {listening}")
    console.print(f"  Event log    {settings.log_dir}/")
    console.print("  Follow it    python -m pipeline tail -f")
    console.print("  Trace an ID  python -m pipeline trace ID")
    console.print("  Stop it      Ctrl-C\n")


def _print_problems(problems: list[Problem]) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    for name, problem, fix in problems:
        console.print(f"[bold red]{name}[/] {problem}\n    {fix}", markup=True)


if __name__ == "__main__":
    sys.exit(main())
