"""What it costs to count a response and to ask for quantiles, and how near they are to the truth.

    python -m tests.bench.windows

ChatKit's windows (1, 5 and 15 minutes, in all and by route, with errors, in a file that outlives the process) are compared
with prometheus-client's histogram (one route, since the start, in its default buckets) and with hdrhistogram (one route,
since the start, three digits). All count the same durations, in one process, in turn; what ChatKit does once a batch of 300
is in its figure. The error is that of p50, p95 and p99 against the exact nearest rank.
"""

import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Histogram

from pipeline.catalogue import Observation
from pipeline.figures.windows import Windows
from tests.bench.contest import Figures, Promise, interleaved, medians, ratio, report, table, told

ROUNDS = 15
OBSERVED = 21_000
BATCH = 300
FILLED = 100_000
ASKED = 50
MINUTES = (1, 5, 15)
QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
ROUTES = tuple(f"/api/v1/part-{number}" for number in range(12))
# Milliseconds, as real servers have them: a long tail; answers from memory beside those from a model; anything up to a second.
DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "lognormal": lambda rng: rng.lognormvariate(2.0, 1.0),
    "bimodal": lambda rng: rng.gauss(3.0, 0.4) if rng.random() < 0.8 else rng.gauss(900.0, 120.0),
    "uniform": lambda rng: rng.uniform(0.05, 1_000.0),
}


def chatkit(folder: Path, durations: Sequence[float]) -> Callable[[], None]:
    """Observed one by one, and committed to the file as the writer does it, once a batch."""
    windows = Windows(folder / f"{random.getrandbits(32):08x}.windows")
    observations = [
        Observation(route, duration, error=False, limited=False)
        for route, duration in zip(cycle(ROUTES), durations, strict=False)
    ]
    batches = [observations[at : at + BATCH] for at in range(0, len(observations), BATCH)]

    def count() -> None:
        observe = windows.observe
        for batch in batches:
            for observation in batch:
                observe(observation)
            windows.commit()

    return count


def kept_child(_: Path, durations: Sequence[float]) -> Callable[[], None]:
    child = _histogram().labels(ROUTES[0])
    seconds = [duration / 1e3 for duration in durations]

    def count() -> None:
        observe = child.observe
        for value in seconds:
            observe(value)

    return count


def labels_each_time(_: Path, durations: Sequence[float]) -> Callable[[], None]:
    histogram = _histogram()
    routed = [(route, ms / 1e3) for route, ms in zip(cycle(ROUTES), durations, strict=False)]

    def count() -> None:
        for route, value in routed:
            histogram.labels(route).observe(value)

    return count


def _histogram() -> Histogram:
    return Histogram("seconds", "Time to answer", ["route"], registry=CollectorRegistry())


def hdrhistogram(_: Path, durations: Sequence[float]) -> Callable[[], None]:
    from hdrh.histogram import HdrHistogram

    histogram = HdrHistogram(1, 3_600_000_000, 3)
    microseconds = [round(duration * 1e3) for duration in durations]

    def count() -> None:
        record = histogram.record_value
        for value in microseconds:
            record(value)

    return count


CONTENDERS: dict[str, Callable[[Path, Sequence[float]], Callable[[], None]]] = {
    "ChatKit": chatkit,
    "prometheus-client, child kept": kept_child,
    "prometheus-client, labels each time": labels_each_time,
    "hdrhistogram": hdrhistogram,
}


def passes(counts: Mapping[str, Callable[[], None]]) -> Figures:
    """Let one contender count each distribution once; its µs for each observation, and their mean."""
    figures = {}
    for name, count in counts.items():
        started = time.thread_time_ns()
        count()
        figures[name] = (time.thread_time_ns() - started) / OBSERVED / 1e3
    return figures | {"all": statistics.fmean(figures.values())}


def filled(folder: Path, durations: Sequence[float]) -> Windows:
    """Windows whose last fifteen minutes saw `durations`, one after the other."""
    now = time.monotonic()
    span = MINUTES[-1] * 60 - 5
    folder.mkdir()
    windows = Windows(folder / "filled.windows", lambda: now)
    began = now
    for number, duration in enumerate(durations):
        now = began + span * number / len(durations)
        windows.observe(Observation(ROUTES[number % len(ROUTES)], duration, error=False, limited=False))
        if number % BATCH == 0:
            windows.tick()
    windows.tick()
    return windows


def asking(windows: Windows) -> Figures:
    """Microseconds to ask for three quantiles of every window, which is how they are asked for."""
    started = time.thread_time_ns()
    for _ in range(ASKED):
        windows.summaries()
    return {"ask_us": (time.thread_time_ns() - started) / ASKED / 1e3}


def errors(durations: Sequence[float], windows: Windows) -> Figures:
    """Quantile → how far off it is, in percent of the exact nearest rank."""
    summary = windows.summaries()[MINUTES[-1]]
    assert summary.requests == len(durations), f"{summary.requests} of {len(durations)} are in the window"
    exact = sorted(durations)
    return {
        name: abs(getattr(summary, name) / exact[math.ceil(rank * len(exact)) - 1] - 1) * 100
        for name, rank in QUANTILES.items()
    }


def main() -> dict[str, Any]:
    """Measure and print."""
    rng = random.Random(20260101)
    drawn = {name: [max(0.02, draw(rng)) for _ in range(FILLED)] for name, draw in DISTRIBUTIONS.items()}
    with tempfile.TemporaryDirectory() as temporary:
        counts = {
            name: {kind: contender(Path(temporary), draws[:OBSERVED]) for kind, draws in drawn.items()}
            for name, contender in CONTENDERS.items()
        }
        rounds = interleaved({name: partial(passes, each) for name, each in counts.items()}, ROUNDS)
        full = {name: filled(Path(temporary) / name, durations) for name, durations in drawn.items()}
        asked = medians(
            interleaved({name: partial(asking, windows) for name, windows in full.items()}, ROUNDS)
        )
        off = {name: asked[name] | errors(drawn[name], windows) for name, windows in full.items()}
    costs = medians(rounds)
    beside = ratio(rounds, "all", "ChatKit", "prometheus-client, child kept")
    worst = max(row[name] for row in off.values() for name in QUANTILES)
    promises = [
        Promise("observe / prometheus-client, child kept", beside, 0.7),
        Promise("three quantiles of every window, µs", max(row["ask_us"] for row in off.values()), 100),
        Promise("largest error of a quantile, %", worst, 1),
    ]
    print(table(costs, {name: f"{name}, µs" for name in (*drawn, "all")}))
    columns = {"ask_us": "all windows, µs"} | {name: f"{name[:3]} off by, %" for name in QUANTILES}
    print("", table(off, columns), "", told(promises), sep="\n")
    return report(costs | off, promises)


if __name__ == "__main__":
    main()
