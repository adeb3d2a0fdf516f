"""An ingest on a terminal shows a bar and what failed; elsewhere its events on standard error say it all."""

import os
import subprocess
import sys
from pathlib import Path

import orjson

from server.chat.ingest import ingest
from server.chat.progress import showing
from server.store.engine import Store
from tests.harness import ROOT, clean_environment
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


def test_a_terminal_shows_what_was_done_and_what_was_left_out(store: Store, tmp_path: Path) -> None:
    folder = library(tmp_path)
    (folder / "broken.pdf").write_bytes(b"%PDF-")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(store.engine.url), str(folder)],
        cwd=ROOT,
        env=clean_environment(TERM="xterm", COLUMNS="200"),
        stderr=theirs,
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

    assert process.wait() == 0
    assert b"Ingested: 1 failed, 5 added." in shown
    assert b"broken.pdf: it is not a sound PDF" in shown
    assert b'"event"' not in shown


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
