"""A contest: contenders measured in turn, in a new order each round, so that what else the machine does falls on all alike.

A figure of a contender is its median over the rounds. A ratio is taken within each round, and is the median of those. A
promise names its limit and says whether it was kept.
"""

import json
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.harness import ROOT, clean_environment

Figures = dict[str, float]
Rounds = dict[str, list[Figures]]
"""Contender → its figures of each round."""


def interleaved(
    contenders: Mapping[str, Callable[[], Figures]], rounds: int, rng: random.Random | None = None
) -> Rounds:
    """Let every contender run once a round, in a random order."""
    rng = rng or random.Random()
    taken: Rounds = {name: [] for name in contenders}
    for _ in range(rounds):
        for name in rng.sample(list(contenders), len(contenders)):
            taken[name].append(contenders[name]())
    return taken


def medians(rounds: Rounds) -> dict[str, Figures]:
    """Contender → each of its figures, as the median of its rounds."""
    return {
        name: {figure: statistics.median(row[figure] for row in rows) for figure in rows[0]}
        for name, rows in rounds.items()
    }


def ratio(rounds: Rounds, figure: str, one: str, other: str) -> float:
    """How many times the `figure` of `other` that of `one` is: the median of the rounds' ratios."""
    pairs = zip(rounds[one], rounds[other], strict=True)
    return statistics.median(mine[figure] / theirs[figure] for mine, theirs in pairs)


class Promise(NamedTuple):
    """What was promised of a measured figure, and whether that is the most or the least it may be."""

    what: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def kept(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def table(rows: Mapping[str, Mapping[str, float]], columns: Mapping[str, str]) -> str:
    """The rows for people: `columns` is figure → its heading; a figure that a row has not stays blank."""
    width = max(map(len, rows)) + 2
    lines = [" " * width + "".join(f"{heading:>16}" for heading in columns.values())]
    for name, figures in rows.items():
        cells = (_number(figures[figure]) if figure in figures else "" for figure in columns)
        lines.append(f"{name:{width}}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def told(promises: Sequence[Promise]) -> str:
    """The promises for people."""
    width = max(len(promise.what) for promise in promises) + 2
    return "\n".join(
        f"{promise.what:{width}}{_number(promise.measured):>8}   "
        f"promised at {'least' if promise.at_least else 'most'} {promise.limit:g}: {'kept' if promise.kept else 'NOT KEPT'}"
        for promise in promises
    )


def report(rows: Mapping[str, Mapping[str, float]], promises: Iterable[Promise]) -> dict[str, Any]:
    """The same for programs."""
    return {"figures": rows, "promises": [promise._asdict() | {"kept": promise.kept} for promise in promises]}


def apart(module: str, *arguments: str) -> Figures:
    """Run `python -m module arguments` in a process of its own; what it prints last is its figures as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _number(value: float) -> str:
    """Three digits that count, and no more after the point than tell something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
