"""What a provider publishes is asked for once by all who wait, again when it is old, and never too often."""

import asyncio

import pytest

from server.accounts.oauth.remembered import AGAIN_SECONDS, FRESH_SECONDS, GOOD_SECONDS, Remembered
from server.accounts.oauth.upstream import ProviderUnavailable


class Published:
    """Counts how often it is asked; `away` is a provider that does not answer."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.asked = 0
        self.away = False
        self.remembered: Remembered[list[int]] = Remembered(self._fetch, lambda: self.now)

    async def _fetch(self) -> list[int]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise ProviderUnavailable
        return [self.asked]


@pytest.fixture
def published() -> Published:
    return Published()


async def test_fifty_who_want_it_at_once_ask_once(published: Published) -> None:
    values = await asyncio.gather(*(published.remembered.get() for _ in range(50)))
    assert values == [[1]] * 50
    published.now += FRESH_SECONDS - 1
    assert await published.remembered.get() == [1]
    assert published.asked == 1


async def test_it_is_asked_for_again_when_it_is_old(published: Published) -> None:
    await published.remembered.get()
    published.now += FRESH_SECONDS
    assert await published.remembered.get() == [2]


async def test_an_old_one_goes_on_for_a_day_while_the_provider_is_away(published: Published) -> None:
    await published.remembered.get()
    published.away = True
    published.now += GOOD_SECONDS - 1
    assert await published.remembered.get() == [1]
    published.now += 1
    with pytest.raises(ProviderUnavailable):
        await published.remembered.get()
    published.away = False
    published.now += AGAIN_SECONDS
    assert await published.remembered.get() == [3]


async def test_a_provider_that_is_away_is_not_asked_by_everybody(published: Published) -> None:
    published.away = True
    for _ in range(20):
        with pytest.raises(ProviderUnavailable):
            await published.remembered.get()
    assert published.asked == 1
    published.away = False
    published.now += AGAIN_SECONDS
    assert await published.remembered.get() == [2]


async def test_who_misses_something_gets_a_newer_one_once_and_everybody_with_them(
    published: Published,
) -> None:
    old = await published.remembered.get()
    published.now += AGAIN_SECONDS
    values = await asyncio.gather(*(published.remembered.get(than=old) for _ in range(50)))
    assert values == [[2]] * 50
    # What somebody made up is missing in that one, too.
    assert await published.remembered.get(than=values[0]) is values[0]
    assert published.asked == 2
