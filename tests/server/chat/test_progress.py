"""An ingest on a terminal shows a bar and what failed; elsewhere its events on standard error say it all."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import orjson

from server.chat.ingest import ingest
from server.chat.progress import showing
from server.store.engine import Store
from tests.embedding_endpoint import embeds
from tests.harness import ROOT, ServerProcess, clean_environment
from tests.model_endpoint import refuses, serving
from tests.server.chat.documents import library

_SCRIPT = """
import asyncio, sys
from server.chat.ingest import ingest
from server.chat.progress import showing
from server.store.engine import Store

async def main():
    store = Store(sys.argv[1])
    with showing() as on_progress:
        await ingest(store, sys.argv[2:], on_progress=on_progress)
    await store.close()

asyncio.run(main())
"""


def shown_on_a_terminal(command: list[str], folder: Path, **settings: str) -> tuple[int, bytes]:
    """The exit status of a command whose standard error is a terminal, and what that showed."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        command, cwd=folder, env=clean_environment(TERM="xterm", COLUMNS="200", **settings), stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux says so when the other end is closed.
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return process.wait(), shown


def test_a_terminal_shows_what_was_done_and_what_was_left_out(store: Store, tmp_path: Path) -> None:
    folder = library(tmp_path)
    (folder / "broken.pdf").write_bytes(b"%PDF-")
    command = [sys.executable, "-c", _SCRIPT, str(store.engine.url), str(folder)]
    status, shown = shown_on_a_terminal(command, ROOT)
    assert status == 0
    assert b"Ingested: 1 failed, 5 added." in shown
    assert b"broken.pdf: it is not a sound PDF" in shown
    assert b'"event"' not in shown


def test_a_terminal_shows_how_many_passages_were_embedded_and_what_to_do_when_that_fails(
    tmp_path: Path,
) -> None:
    (tmp_path / "site").mkdir()
    for number in range(3):
        (tmp_path / "site" / f"{number}.md").write_text(f"# Page {number}\n\nAbout {number}.\n")
    command = [sys.executable, "-m", "server", "ingest", "site"]
    with serving() as endpoint:
        settings = {
            "EMBEDDING_BASE_URL": endpoint.url,
            "EMBEDDING_MODEL": "m",
            "EMBEDDING_API_KEY": "sk-hide",
        }
        endpoint.embeds = refuses(401)
        status, shown = shown_on_a_terminal(command, tmp_path, **settings)
        assert status == 1
        assert b"Ingested: 3 added." in shown
        assert b"Embedded: 0 new, 0 known." in shown
        assert b"3 passages have no vector (HTTP_401). The key is refused: set EMBEDDING_API_KEY." in shown
        assert b"Run the same command again to go on." in shown
        endpoint.embeds = embeds()
        status, shown = shown_on_a_terminal(command, tmp_path, **settings)
        assert status == 0
        assert b"Embedded: 3 new, 0 known." in shown
        assert b'"event"' not in shown
        assert b"sk-hide" not in shown


def test_a_database_that_somebody_else_writes_ends_an_ingest_with_what_to_do(tmp_path: Path) -> None:
    project = ServerProcess(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# Page\n\nThe first text.\n")
    assert project.command("server", "ingest", "page.md").returncode == 0
    page.write_text("# Page\n\nAnother text.\n")
    with closing(sqlite3.connect(tmp_path / "var" / "chatkit.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = project.command("server", "ingest", "page.md")
    assert done.returncode == 78
    told = [orjson.loads(line) for line in done.stderr.splitlines()]
    assert (told[-1]["event"], told[-1]["what"]) == ("start_failed", "go on ingesting")
    assert "Run the same command again" in told[-1]["fix"]
    assert project.command("server", "ingest", "page.md").returncode == 0


def test_elsewhere_every_line_is_an_event(store: Store, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(store.engine.url), str(library(tmp_path))],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        check=True,
    )
    told = [orjson.loads(line)["event"] for line in done.stderr.splitlines()]
    assert told == ["document_ingested"] * 5 + ["ingest_finished"]
    assert done.stdout == b""


async def test_without_a_terminal_nothing_is_drawn(store: Store, tmp_path: Path) -> None:
    with showing() as on_progress:
        assert (await ingest(store, [library(tmp_path)], on_progress=on_progress)).added == 5
