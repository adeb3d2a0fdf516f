"""The faults themselves: what is not undone does not pass unnoticed."""

from collections.abc import Iterator

import pytest

from tests.docs import asking, database_faults, faults
from tests.harness import ServerProcess


def test_a_fault_that_is_undone_leaves_a_server_that_is_well(server: ServerProcess) -> None:
    with faults.injected("database-gone", server):
        assert not (server.folder / "var" / "chatkit.db").exists()
    assert (server.folder / "var" / "chatkit.db").exists()


def test_a_fault_that_is_not_undone_is_noticed(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten(server: ServerProcess) -> Iterator[None]:
        undoing = database_faults.database_gone(server)
        next(undoing)
        yield

    monkeypatch.setitem(faults.FAULTS, "forgotten", forgotten)
    monkeypatch.setattr(asking, "WELL_SECONDS", 4)
    with pytest.raises(AssertionError, match="still not well"), faults.injected("forgotten", server):
        pass
