"""How long until the next attempt."""

import pytest

from server.mail.backoff import FIRST_SECONDS, LONGEST_SECONDS, wait_seconds


def test_waits_double_from_seconds_to_a_quarter_of_an_hour() -> None:
    longest = [max(wait_seconds(attempts) for _ in range(300)) for attempts in range(1, 12)]
    shortest = [min(wait_seconds(attempts) for _ in range(300)) for attempts in range(1, 12)]
    for attempts, (least, most) in enumerate(zip(shortest, longest, strict=True)):
        expected = min(LONGEST_SECONDS, FIRST_SECONDS * 2**attempts)
        assert expected / 2 <= least <= most <= expected
        assert most > expected * 0.9
        assert least < expected * 0.6


@pytest.mark.parametrize("attempts", [50, 10_000, 10**9])
def test_however_many_there_were_a_wait_is_at_most_the_longest(attempts: int) -> None:
    assert wait_seconds(attempts) <= LONGEST_SECONDS
    assert wait_seconds(attempts, 60) <= 60
