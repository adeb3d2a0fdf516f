"""The faults themselves: what is not undone does not pass unnoticed."""

import pytest

from tests.docs import faults
from tests.harness import ServerProcess


def test_a_fault_that_is_undone_leaves_a_server_that_is_well(server: ServerProcess) -> None:
    with faults.injected("database-gone", server):
        assert not (server.folder / "var" / "chatkit.db").exists()
    assert (server.folder / "var" / "chatkit.db").exists()


def test_a_fault_that_is_not_undone_is_noticed(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "WELL_SECONDS", 3)
    file = server.folder / "var" / "chatkit.db"
    with (
        pytest.raises(AssertionError, match="still not well"),
        faults.injected("question", server),
    ):
        file.rename(file.with_suffix(".away"))
