"""The power goes: nothing durable is missing after the next start, in the log or in the database, and of ordinary events at most the last second."""

import sqlite3
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from server.store.engine import Store
from tests.faults.disks import Disk, new_disk
from tests.faults.ledger import Emitter, Judged, judged, times
from tests.harness import free_port, running
from tests.visitors import Visitor, link_token

SECOND = 1_000_000_000
NO_FLUSH = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync,fsync:retval=0")
"""What should be flushed is not, and says that it was."""


def after_cuts(
    tmp_path: Path, cuts: int, *options: str, under: tuple[str, ...] = ()
) -> list[tuple[list[int], Judged]]:
    """For each of some moments: what had been acknowledged a second before (durable: by then), and the log that the next start finds and leaves.

    The second is longer by as long as the machine stood still: by the longest time in which nothing at all was acknowledged.
    """
    disk, durable = new_disk(tmp_path, "24M"), "--durable" in options
    moments: list[tuple[int, Disk]] = []
    with (
        disk,
        Emitter(disk.place / "log", disk.place / "state", "before", 1, *options, under=under) as emitter,
    ):
        emitter.wait_for(10)
        emitter.read_for(2)
        for number in range(cuts):
            emitter.read_for(0.05 + 0.37 * (number % 4))
            moments.append((time.monotonic_ns(), disk.after_power_cut(tmp_path / f"cut-{number}.img")))
        emitter.kill()
        entries = emitter.entries()
    still = max(later.at - entry.at for entry, later in pairwise(entries))
    grace = 0 if durable else SECOND + still
    return [
        ([entry.number for entry in entries if entry.number > 0 and entry.at < moment - grace], found_on(cut))
        for moment, cut in moments
    ]


def found_on(disk: Disk) -> Judged:
    """The log after a start that finds the disk so."""
    with disk:
        with Emitter(
            disk.place / "log", disk.place / "state", "after", 1_000_000, "--seconds", "0"
        ) as next_start:
            next_start.entries()
            assert next_start.process.returncode == 0, next_start.stderr
        found = judged(disk.place / "log")
    disk.image.unlink()
    return found


def test_no_durable_event_is_missing_after_a_power_cut(tmp_path: Path) -> None:
    for acknowledged, found in after_cuts(tmp_path, times(3, 40), "--durable", "--segment-bytes", "9000"):
        assert acknowledged
        assert set(acknowledged) <= found.numbers.keys()
        assert found.damaged == 0


@pytest.mark.parametrize("pace", [("--pause", "0.02"), ("--pause", "0.11", "--burst", "1")])
def test_ordinary_events_are_missing_for_the_last_second_at_most(
    tmp_path: Path, pace: tuple[str, str]
) -> None:
    cuts = after_cuts(tmp_path, times(3, 30), *pace)
    assert any(acknowledged for acknowledged, _ in cuts)
    for acknowledged, found in cuts:
        assert set(acknowledged) <= found.numbers.keys()
        assert found.damaged == 0


def test_without_the_flush_the_same_harness_sees_the_loss(tmp_path: Path) -> None:
    for acknowledged, found in after_cuts(tmp_path, 2, "--durable", under=NO_FLUSH):
        assert not set(acknowledged) <= found.numbers.keys()


async def kept_over_cuts(tmp_path: Path, *, durable: bool) -> list[bool]:
    """Whether each of some rows, committed right before a cut, is in the database after it."""
    cuts: list[Disk] = []
    with new_disk(tmp_path, "24M") as disk:
        store = Store(f"sqlite+aiosqlite:///{disk.place}/chatkit.db")
        async with store.writing("make", durable=True) as connection:
            await connection.exec_driver_sql("CREATE TABLE t (number)")
        for number in range(times(5, 40)):
            async with store.writing("ordinary") as connection:
                await connection.exec_driver_sql("INSERT INTO t VALUES (-1)")
            async with store.writing("test", durable=durable) as connection:
                await connection.exec_driver_sql("INSERT INTO t VALUES (?)", (number,))
            cuts.append(disk.after_power_cut(tmp_path / f"cut-{number}.img"))
        await store.close()
    return [number in numbers_on(cut) for number, cut in enumerate(cuts)]


def numbers_on(disk: Disk) -> set[int]:
    with disk, closing(sqlite3.connect(disk.place / "chatkit.db")) as connection:
        return {number for (number,) in connection.execute("SELECT number FROM t")}


async def test_what_the_database_took_durably_is_in_it_after_a_power_cut(tmp_path: Path) -> None:
    assert all(await kept_over_cuts(tmp_path, durable=True))


async def test_what_it_took_as_usual_may_not_be(tmp_path: Path) -> None:
    """The control."""
    assert not all(await kept_over_cuts(tmp_path, durable=False))


def test_what_a_visitor_was_told_is_so_after_a_power_cut(tmp_path: Path) -> None:
    """Right after each answer the power goes; what is durable later flushes nothing of it."""
    cuts: list[Disk] = []
    tokens: dict[str, str | None] = {}
    with new_disk(tmp_path, "64M") as disk, running(disk.place) as server:
        visitor = Visitor(server)

        def cut() -> None:
            cuts.append(disk.after_power_cut(tmp_path / f"cut-{len(cuts)}.img"))

        visitor.sign_in("ada@example.com")
        tokens["first"] = visitor.token
        cut()
        conversation = visitor.ask()["conversation_id"]
        assert visitor.post("/chat/save", {"conversation_id": conversation}).status == 200
        cut()
        assert visitor.send("DELETE", f"/api/v1/conversations/{conversation}").status == 204
        cut()
        tokens["second"] = visitor.token = visitor.post("/auth/refresh-token").json()["token"]
        cut()
        assert visitor.post("/auth/logout").status == 200
        cut()

    def found(cut: Disk, token: str | None) -> tuple[str, list[str]]:
        """The state of the session after the cut, and which conversations its owner has."""
        with cut, running(cut.place) as server:
            owner = Visitor(server, token)
            state = owner.get("/auth/session-check").json().get("state", "unknown")
            kept = owner.get("/conversations").json().get("conversations", [])
            return state, [one["id"] for one in kept if one["saved"]]

    signed_in, saved, deleted, refreshed, logged_out = cuts
    assert found(signed_in, tokens["first"]) == ("logged_in", [])
    assert found(saved, tokens["first"]) == ("logged_in", [conversation])
    assert found(deleted, tokens["first"]) == ("logged_in", [])
    assert found(refreshed, tokens["first"])[0] != "logged_in"
    assert found(refreshed, tokens["second"])[0] == "logged_in"
    assert found(logged_out, tokens["second"])[0] != "logged_in"


def test_a_letter_that_was_promised_is_there_after_a_power_cut(tmp_path: Path) -> None:
    with new_disk(tmp_path, "64M") as disk, running(disk.place, SMTP_HOST="127.0.0.1", SMTP_PORT=str(free_port()), SMTP_TLS="none", FROM_EMAIL="chat@example.com") as server:  # fmt: skip
        Visitor(server).sign_up("ada@example.com")
        cut = disk.after_power_cut(tmp_path / "cut.img")
    with cut, running(cut.place) as server:  # which writes letters to files
        assert link_token(server, "ada@example.com")
