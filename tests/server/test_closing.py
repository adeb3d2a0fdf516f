"""What was opened last is closed first, each step in its time, and none is left out because another failed."""

import asyncio

import pytest

from server.closing import LEAST_SECONDS, Closing


def unexpected(error: Exception) -> None:
    raise AssertionError(error)


async def test_the_last_that_was_opened_is_the_first_to_be_closed() -> None:
    closed: list[str] = []

    async def close(name: str) -> None:
        await asyncio.sleep(0)
        closed.append(name)

    closing = Closing(60, unexpected)
    closing.then(lambda: closed.append("log"))
    closing.then(lambda: close("store"))
    closing.then(lambda: close("door"), part=0.5)
    await closing.close()
    assert closed == ["door", "store", "log"]


async def test_steps_that_fail_keep_no_other_from_being_taken_and_each_is_reported() -> None:
    closed: list[str] = []
    reported: list[Exception] = []

    async def fails(error: Exception) -> None:
        raise error

    closing = Closing(60, reported.append)
    closing.then(lambda: closed.append("log"))
    closing.then(lambda: fails(OSError("it is gone")))
    closing.then(lambda: fails(TimeoutError("the other side")), part=0.5)
    closing.then(lambda: closed[7])
    closing.then(lambda: closed.append("door"))
    await closing.close()
    assert closed == ["door", "log"]
    assert [type(error) for error in reported] == [IndexError, TimeoutError, OSError]


async def test_the_time_runs_from_when_it_begins() -> None:
    closing = Closing(1000, unexpected)
    assert closing.left() > 1000
    closing.begin()
    first = closing.left()
    await asyncio.sleep(0.01)
    closing.begin()
    assert closing.left() < first <= 1000


async def test_a_step_that_hangs_is_left_when_its_part_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.closing.LEAST_SECONDS", 0.01)
    closed: list[str] = []

    async def hangs() -> None:
        await asyncio.Event().wait()

    closing = Closing(0.05, unexpected)
    closing.then(lambda: closed.append("log"))
    for _ in range(20):
        closing.then(hangs, part=0.5)
    await closing.close()
    assert closed == ["log"]


async def test_what_is_left_is_a_part_of_the_time_and_never_nothing() -> None:
    seen: list[float] = []
    closing = Closing(10, unexpected)
    closing.then(lambda: seen.append(closing.left()))
    closing.then(lambda: seen.append(closing.left(0.5)))
    await closing.close()
    half, rest = seen
    assert 0 < half <= 5
    assert 0 < rest <= 10
    over = Closing(0, unexpected)
    over.then(lambda: seen.extend((over.left(), over.left(least=1))))
    await over.close()
    assert seen[-2:] == [LEAST_SECONDS, 1]
