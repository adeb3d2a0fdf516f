"""What was opened last is closed first, each step in its time, and none is left out because another failed."""

import asyncio

import pytest

from server.closing import Closing


async def test_the_last_that_was_opened_is_the_first_to_be_closed() -> None:
    closed: list[str] = []

    async def close(name: str) -> None:
        await asyncio.sleep(0)
        closed.append(name)

    closing = Closing(60)
    closing.then(lambda: closed.append("log"))
    closing.then(lambda: close("store"))
    closing.then(lambda: close("door"), part=0.5)
    await closing.close()
    assert closed == ["door", "store", "log"]


async def test_a_step_that_fails_keeps_no_other_from_being_taken_and_is_not_hushed_up() -> None:
    closed: list[str] = []

    async def fails() -> None:
        raise OSError("it is gone")

    closing = Closing(60)
    closing.then(lambda: closed.append("log"))
    closing.then(fails)
    closing.then(lambda: closed.append("door"))
    with pytest.raises(OSError, match="it is gone"):
        await closing.close()
    assert closed == ["door", "log"]


async def test_a_step_whose_own_time_is_over_has_failed() -> None:
    async def fails() -> None:
        raise TimeoutError("the other side")

    closing = Closing(60)
    closing.then(fails, part=0.5)
    with pytest.raises(TimeoutError, match="the other side"):
        await closing.close()


async def test_a_step_that_hangs_is_left_when_its_part_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.closing.LEAST_SECONDS", 0.01)
    closed: list[str] = []

    async def hangs() -> None:
        await asyncio.Event().wait()

    closing = Closing(0.05)
    closing.then(lambda: closed.append("log"))
    for _ in range(20):
        closing.then(hangs, part=0.5)
    await closing.close()
    assert closed == ["log"]


async def test_what_is_left_is_a_part_of_the_time_and_never_nothing() -> None:
    seen: list[float] = []
    closing = Closing(10)
    closing.then(lambda: seen.append(closing.left()))
    closing.then(lambda: seen.append(closing.left(0.5)))
    await closing.close()
    half, rest = seen
    assert 1 <= half <= 5
    assert 1 <= rest <= 10
    over = Closing(0)
    over.then(lambda: seen.append(over.left()))
    await over.close()
    assert seen[-1] == 1
