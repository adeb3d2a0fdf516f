"""What the benches stand on: order, medians, ratios, promises."""

import random
from itertools import count
from typing import Any

from tests.bench.contest import Figures, Promise, Rounds, interleaved, medians, ratio, table, told


class Contender:
    """Costs what it is told to cost, and notes when it ran."""

    def __init__(self, name: str, ran: list[str], costs: Any) -> None:
        self.name, self.ran, self.costs = name, ran, costs

    def __call__(self) -> Figures:
        self.ran.append(self.name)
        return {"cost": float(next(self.costs))}


def test_every_contender_runs_once_a_round_and_not_always_in_the_same_order() -> None:
    ran: list[str] = []
    taken = interleaved({name: Contender(name, ran, count(1)) for name in "abc"}, 20, random.Random(1))
    rounds = [tuple(ran[at : at + 3]) for at in range(0, len(ran), 3)]
    assert all(set(order) == set("abc") for order in rounds)
    assert len(set(rounds)) > 1
    assert {name: len(rows) for name, rows in taken.items()} == {"a": 20, "b": 20, "c": 20}


def test_a_ratio_is_taken_within_each_round_so_that_a_machine_that_slows_down_does_not_count() -> None:
    # Both take longer from round to round, one always twice as long as the other.
    taken = interleaved(
        {"one": Contender("one", [], count(2, 2)), "other": Contender("other", [], count(1))}, 5
    )
    assert ratio(taken, "cost", "one", "other") == 2.0
    assert medians(taken) == {"one": {"cost": 6.0}, "other": {"cost": 3.0}}


def test_one_bad_round_does_not_change_a_ratio() -> None:
    taken: Rounds = {"one": [{"cost": 1.0}, {"cost": 900.0}, {"cost": 1.0}], "other": [{"cost": 2.0}] * 3}
    assert ratio(taken, "cost", "one", "other") == 0.5


def test_a_promise_that_is_missed_is_said_so_whichever_way_it_goes() -> None:
    assert Promise("cost", 1.9, 1.9).kept
    assert not Promise("cost", 1.91, 1.9).kept
    assert Promise("speed", 0.72, 0.72, at_least=True).kept
    assert not Promise("speed", 0.71, 0.72, at_least=True).kept
    assert "NOT KEPT" in told([Promise("speed", 0.71, 0.72, at_least=True)])


def test_a_table_leaves_blank_what_a_row_does_not_have() -> None:
    drawn = table({"one": {"a": 1.0}, "two": {"b": 12345.0}}, {"a": "A", "b": "B"}).splitlines()
    assert drawn[1].split() == ["one", "1.00"]
    assert drawn[2].split() == ["two", "12,345"]
