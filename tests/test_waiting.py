"""The tests' own way of waiting: it lets nothing pass that does not hold."""

import time

import pytest

from tests.waiting import soon, undisturbed, until


def test_what_never_comes_true_ends_and_says_what_was_awaited() -> None:
    with pytest.raises(AssertionError, match="still not: a letter"):
        until(lambda: False, "a letter", seconds=0.1)


async def test_what_is_awaited_is_given() -> None:
    assert until(lambda: "found") == "found"
    assert await soon(lambda: "found") == "found"


async def test_what_does_not_hold_on_a_quiet_machine_fails_at_once() -> None:
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise AssertionError("it does not hold")

    with pytest.raises(AssertionError, match="it does not hold"):
        await undisturbed(attempt, lag_seconds=5)
    assert attempts == 1


async def test_what_does_not_hold_while_the_machine_stands_still_is_tried_again_and_not_for_ever() -> None:
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        time.sleep(0.2)  # noqa: ASYNC251 - the machine stands still
        assert attempts == 3

    await undisturbed(attempt)
    attempts = 3
    with pytest.raises(AssertionError):
        await undisturbed(attempt)
    assert attempts == 8
