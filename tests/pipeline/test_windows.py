"""Rolling windows against the plain computation."""

import math
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalogue import Observation
from pipeline.windows import LAST, MINUTES, OTHER, Windows, bucket, middle, percent


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def observed(route: str, duration_ms: float, *, error: bool = False, limited: bool = False) -> Observation:
    return Observation(route, duration_ms, error, limited)


@given(st.floats(0.011, 3_600_000))
def test_a_bucket_is_known_within_one_percent(duration_ms: float) -> None:
    assert abs(middle(bucket(duration_ms)) - duration_ms) <= 0.01 * duration_ms


def nearest_rank(durations: list[float], quantile: float) -> float:
    return sorted(durations)[max(1, math.ceil(quantile * len(durations))) - 1]


def test_each_window_holds_exactly_its_minutes_and_its_quantiles_are_within_one_percent() -> None:
    rng, clock = random.Random(7), Clock()
    windows = Windows(clock)
    truth: deque[tuple[int, float, bool]] = deque()
    for _ in range(6_000):
        clock.now += rng.expovariate(4.0)
        duration, error = rng.lognormvariate(3, 1.2), rng.random() < 0.05
        windows.observe(observed("/a", duration, error=error))
        truth.append((int(clock.now), duration, error))
        if rng.random() < 0.02:
            for minutes, summary in windows.summaries().items():
                since = int(clock.now) - minutes * 60 + 1
                inside = [(ms, failed) for second, ms, failed in truth if second >= since]
                assert summary.requests == len(inside)
                assert summary.errors == sum(failed for _, failed in inside)
                durations = [ms for ms, _ in inside]
                for quantile, told in ((0.5, summary.p50_ms), (0.95, summary.p95_ms), (0.99, summary.p99_ms)):
                    exact = nearest_rank(durations, quantile)
                    assert abs(told - exact) <= 0.0101 * exact


def test_a_window_is_empty_when_its_time_has_passed() -> None:
    clock = Clock()
    windows = Windows(clock)
    windows.observe(observed("/a", 10, error=True))
    seen = []
    for seconds in (59, 2, 238, 2, 598, 2):
        clock.now += seconds
        seen.append([windows.summaries()[minutes].requests for minutes in MINUTES])
    assert seen == [[1, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert windows.totals().requests == 1
    assert windows.summaries()[15].p99_ms == 0.0


def test_the_average_is_over_the_last_hundred() -> None:
    windows = Windows(Clock())
    for duration in range(250):
        windows.observe(observed("/a", float(duration)))
    assert windows.totals().average_ms == pytest.approx(sum(range(150, 250)) / LAST)


def test_routes_are_counted_apart_and_more_than_a_hundred_of_them_together() -> None:
    windows = Windows(Clock())
    for number in range(300):
        windows.observe(observed(f"/{number}", 1.0))
    by_route = windows.by_route()
    assert len(by_route) == 101
    assert by_route[OTHER][1].requests == 200
    assert sum(series[1].requests for series in by_route.values()) == 300


def test_a_histogram_counts_each_response_at_or_under_its_bounds() -> None:
    windows = Windows(Clock())
    for duration in (1.0, 3.0, 30.0, 300.0, 3000.0):
        windows.observe(observed("/a", duration, limited=duration == 3.0))
    told = windows.histograms([2.0, 50.0, 500.0])["/a"]
    assert told == {"counts": [1, 3, 4], "count": 5, "errors": 0, "limited": 1, "sum_ms": 3334.0}


def test_twelve_errors_in_1543_requests_are_0_78_percent() -> None:
    assert percent(12, 1543) == 0.78
    assert percent(0, 0) == 0.0
