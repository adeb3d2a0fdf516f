"""A runbook that has gone stale fails the build: every command in the documents runs, and prints what they say."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.console import check
from tests.docs.faults import FAULTS, injected
from tests.docs.reading import PAGES, ROOT, Block, blocks
from tests.harness import ServerProcess, clean_environment, needs, running

COMMANDS = [block for page in PAGES for block in blocks(page) if block.kind == "console"]
DRY_MAKE = 'make() { command make --dry-run "$@" > /dev/null; }'
"""`make run` does not end and `make test` would run itself: that they are targets which expand is all that is tried."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, documents: Path) -> Iterator["Servers"]:
    needs("curl")
    needs("jq")
    with ExitStack() as stack:
        yield Servers(tmp_path_factory, documents, stack)


class Servers:
    """A server for the blocks of a page that need no fault, and one of its own for every other."""

    def __init__(self, folders: pytest.TempPathFactory, documents: Path, stack: ExitStack) -> None:
        self._folders = folders
        self._documents = documents
        self._stack = stack
        self._of_page: dict[Path, ServerProcess] = {}

    def folder(self) -> Path:
        """A clone in which `make run` has run: the database has the documents. The reader has a handbook, too."""
        folder = self._folders.mktemp("reader")
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        (folder / "handbook").mkdir()
        (folder / "handbook" / "hours.md").write_text("# Opening hours\n\nThe office opens at nine.\n")
        (folder / "var").mkdir()
        (folder / "var" / "chatkit.db").write_bytes(self._documents.read_bytes())
        return folder

    def of(self, page: Path) -> ServerProcess:
        """The server of `page`."""
        if page not in self._of_page:
            self._of_page[page] = self._stack.enter_context(running(self.folder()))
        return self._of_page[page]


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.place)
def test_a_command_in_the_documents_prints_what_they_say(block: Block, servers: Servers) -> None:
    match block.directive:
        case None:
            execute(block, servers.of(block.page))
        case ("make", "dry"):
            check(block.text, ROOT, environment(), prelude=DRY_MAKE)
        case ("fault" | "after", name):
            with ExitStack() as stack:
                server = ServerProcess(servers.folder()).start()
                stack.callback(server.kill)
                stack.enter_context(injected(name, server))
                execute(block, server)
        case other:
            pytest.fail(f"{block.place}: what is {other}?")


def execute(block: Block, server: ServerProcess) -> None:
    """Run `block` in the folder of `server`, with its settings and its port."""
    port = str(server.address[1])
    check(block.text, server.folder, environment(**server.settings | {"PORT": port}), address=server.url)


def environment(**settings: str) -> dict[str, str]:
    """A reader's, in whose shell `python` is the one of the virtual environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return clean_environment(**settings) | {"PATH": path, "LANG": "C.UTF-8"}


def test_every_fault_is_used_by_some_document() -> None:
    used = {
        block.directive[1]
        for block in COMMANDS
        if block.directive and block.directive[0] in {"fault", "after"}
    }
    assert used == set(FAULTS)
