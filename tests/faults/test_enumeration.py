"""Nobody can find out by asking whether an address has an account: same status, same body, same time."""

import json
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from math import sqrt
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import pytest

from tests.faults.ledger import times
from tests.harness import Answer, ServerProcess, exchange, request_bytes, running

PAIRS = times(200, 500)
TELLING = 4.0
"""Standard deviations; by chance alone it is passed once in 16,000 times."""
_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("enumeration")
    with running(folder) as started:
        _make_accounts(folder / "var" / "chatkit.db")
        yield started


def _make_accounts(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        rows = [(f"{number:032x}", f"known{number}@example.org", 1, 1, 1) for number in range(2 * PAIRS)]
        connection.executemany(
            "INSERT INTO accounts (id, email, tier, consented_at, created_at) VALUES (?, ?, ?, ?, ?)", rows
        )


def _known() -> str:
    return f"known{next(_numbers) % (2 * PAIRS)}@example.org"


def _unknown() -> str:
    return f"never{next(_numbers)}@example.org"


def _ask(server: ServerProcess, path: str, address: str, slower: float = 0.0) -> tuple[Answer, float]:
    body = json.dumps({"email": address} | ({"consent": True} if path.endswith("signup") else {})).encode()
    request = request_bytes("POST", f"/api/v1/auth/{path}", {"Content-Type": "application/json"}, body)
    started = perf_counter()
    answer = exchange(server.address, request)
    sleep(slower)
    return answer, perf_counter() - started


def _deviation(ones: Sequence[float], others: Sequence[float]) -> float:
    """How far apart two samples are, in standard deviations of the rank sum (Mann and Whitney, 1947)."""
    ranked = sorted((*((value, 1) for value in ones), *((value, 0) for value in others)))
    rank_sum = sum(rank for rank, (_, one) in enumerate(ranked, 1) if one)
    n, m = len(ones), len(others)
    expected = n * (n + m + 1) / 2
    return (rank_sum - expected) / sqrt(n * m * (n + m + 1) / 12)


def _times(
    server: ServerProcess, path: str, rng: random.Random, *groups: tuple[Callable[[], str], float]
) -> list[list[float]]:
    """How long the answers to each group took; in every round the groups take turns in another order."""
    times: list[list[float]] = [[] for _ in groups]
    for _ in range(PAIRS):
        for group in rng.sample(range(len(groups)), len(groups)):
            make, slower = groups[group]
            answer, seconds = _ask(server, path, make(), slower)
            assert answer.status == 202, answer.raw
            times[group].append(seconds)
    return times


@pytest.mark.parametrize("path", ["signup", "resend-verification"])
def test_known_and_unknown_addresses_get_the_same_answer(server: ServerProcess, path: str) -> None:
    known, _ = _ask(server, path, _known())
    unknown, _ = _ask(server, path, _unknown())
    assert known.status == unknown.status == 202
    assert known.headers.keys() == unknown.headers.keys()
    assert len(known.body) == len(unknown.body)
    of_known, of_unknown = known.json(), unknown.json()
    assert of_known.pop("verification_id") != of_unknown.pop("verification_id")
    assert of_known == of_unknown


@pytest.mark.parametrize("path", ["signup", "resend-verification"])
@pytest.mark.timeout(600)
def test_known_and_unknown_addresses_take_the_same_time(
    server: ServerProcess, path: str, rng: random.Random
) -> None:
    known, unknown = _times(server, path, rng, (_known, 0.0), (_unknown, 0.0))
    assert abs(_deviation(known, unknown)) < TELLING


def test_three_times_as_long_would_be_seen(server: ServerProcess, rng: random.Random) -> None:
    usual = median(_ask(server, "signup", _unknown())[1] for _ in range(30))
    known, unknown = _times(server, "signup", rng, (_known, 2 * usual), (_unknown, 0.0))
    assert _deviation(known, unknown) > TELLING
