"""A runbook that has gone stale fails the build: every command in the documents runs, and prints what they say."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.console import WRITTEN, check
from tests.docs.faults import FAULTS, injected
from tests.docs.reading import PAGES, ROOT, Block, blocks
from tests.harness import ServerProcess, clean_environment, needs, running, with_documents

COMMANDS = [block for page in PAGES for block in blocks(page) if block.kind == "console"]
SITUATIONS = {"fault", "after"}
DRY_MAKE = 'make() { command make --dry-run "$@" > /dev/null; }'
"""`make run` does not end and `make test` would run itself: that they are targets which expand is all that is tried."""


class Situation(NamedTuple):
    """A page, and what happened before some of its blocks."""

    page: Path
    directive: tuple[str, str] | None


def by_situation() -> dict[Situation, list[Block]]:
    """The blocks that share a server, together."""
    found: dict[Situation, list[Block]] = {}
    for block in COMMANDS:
        found.setdefault(Situation(block.page, block.directive), []).append(block)
    return found


class Reader(NamedTuple):
    """Who reads a page: in which folder, with which server, settings and shell."""

    folder: Path
    settings: Mapping[str, str] = {}
    server: ServerProcess | None = None
    prelude: str = ""


class Library:
    """Has one reader at a time: blocks of one page for the same situation share the server."""

    def __init__(self, folders: pytest.TempPathFactory, documents: Path) -> None:
        self._folders = folders
        self._documents = documents
        self._present: tuple[Situation, Reader] | None = None
        self._leaving = ExitStack()

    def reader(self, situation: Situation) -> Reader:
        """The one of `situation`. Another leaves first: the fault is undone, and the server must be well again."""
        if self._present is None or self._present[0] != situation:
            self.close()
            self._present = situation, self._arrive(situation)
        return self._present[1]

    def close(self) -> None:
        """Let the present reader leave."""
        self._present = None
        self._leaving.close()

    def _arrive(self, situation: Situation) -> Reader:
        if situation.directive == ("make", "dry"):
            return Reader(ROOT, prelude=DRY_MAKE)
        folder = clone(self._folders.mktemp("reader"), self._documents)
        server = self._leaving.enter_context(running(folder))
        port = str(server.address[1])
        if situation.directive is not None:
            word, name = situation.directive
            assert word in SITUATIONS, f"what is {word}?"
            self._leaving.enter_context(injected(name, server))
        # Of the settings that only tests make, the reader has not heard of this one.
        settings = {name: value for name, value in server.settings.items() if name != "RATE_LIMITS"}
        return Reader(folder, settings | {"PORT": port}, server)


@pytest.fixture(scope="module")
def library(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    needs("curl")
    needs("jq")
    needs("psql")
    library = Library(tmp_path_factory, documents)
    yield library
    library.close()


def clone(folder: Path, documents: Path) -> Path:
    """A clone in which `make run` has run: the database has the documents. The reader has a handbook, too."""
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    (folder / "handbook").mkdir()
    (folder / "handbook" / "hours.md").write_text("# Opening hours\n\nThe office opens at nine.\n")
    with_documents(folder, documents)
    return folder


@pytest.mark.parametrize(
    ("situation", "block"),
    [
        pytest.param(situation, block, id=block.place)
        for situation, sharing in by_situation().items()
        for block in sharing
    ],
)
def test_a_command_in_the_documents_prints_what_they_say(
    library: Library, situation: Situation, block: Block
) -> None:
    reader = library.reader(situation)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = clean_environment(**reader.settings) | {"PATH": path, "LANG": "C.UTF-8"}
    address = WRITTEN if reader.server is None else reader.server.url
    check(block.text, reader.folder, environment, address=address, prelude=reader.prelude)


def test_every_fault_is_used_by_some_document() -> None:
    used = {block.directive[1] for block in COMMANDS if block.directive and block.directive[0] in SITUATIONS}
    assert used == set(FAULTS)
