"""Rolling windows against the plain computation, of one worker and of several."""

import math
import random
import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalogue import Observation
from pipeline.figures import rolling
from pipeline.figures.file import LAST
from pipeline.figures.rolling import LARGEST_MS, MINUTES, bucket, middle
from pipeline.figures.windows import BOUNDS_MS, OTHER, SILENT_SECONDS, Windows, percent


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def observed(route: str, duration_ms: float, *, error: bool = False, limited: bool = False) -> Observation:
    return Observation(route, duration_ms, error, limited)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Worker = Callable[[int], Windows]


@pytest.fixture
def worker(tmp_path: Path, clock: Clock) -> Worker:
    """Windows that share a folder, by the number of their worker."""
    return lambda number: Windows(tmp_path / f"worker-{number}.windows", clock, boot="one")


@given(st.floats(0.011, LARGEST_MS, exclude_max=True))
def test_a_bucket_is_known_within_one_percent(duration_ms: float) -> None:
    assert abs(middle(bucket(duration_ms)) - duration_ms) <= 0.01 * duration_ms


def nearest_rank(durations: list[float], quantile: float) -> float:
    return sorted(durations)[max(1, math.ceil(quantile * len(durations))) - 1]


def test_each_window_holds_exactly_its_minutes_and_its_quantiles_are_within_one_percent(clock: Clock) -> None:
    rng = random.Random(7)
    windows = Windows(clock=clock)
    truth: deque[tuple[int, float, bool]] = deque()
    for _ in range(6_000):
        clock.now += rng.expovariate(4.0)
        duration, error = rng.lognormvariate(3, 1.2), rng.random() < 0.05
        windows.observe(observed("/a", duration, error=error))
        windows.commit()
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


def test_a_window_is_empty_when_its_time_has_passed(clock: Clock) -> None:
    windows = Windows(clock=clock)
    windows.observe(observed("/a", 10, error=True))
    windows.commit()
    seen = []
    for seconds in (59, 2, 238, 2, 598, 2):
        clock.now += seconds
        seen.append([windows.summaries()[minutes].requests for minutes in MINUTES])
    assert seen == [[1, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert windows.totals().requests == 1
    assert windows.summaries()[15].p99_ms == 0.0


def test_the_average_is_over_the_last_hundred() -> None:
    windows = Windows(clock=Clock())
    for duration in range(250):
        windows.observe(observed("/a", float(duration)))
        if duration % 7 == 0:
            windows.commit()
    assert windows.totals().average_ms == pytest.approx(sum(range(150, 250)) / LAST)


def test_routes_are_counted_apart_and_more_than_a_hundred_of_them_together() -> None:
    windows = Windows(clock=Clock())
    for number in range(300):
        windows.observe(observed(f"/{number}", 1.0))
    by_route = windows.by_route()
    assert len(by_route) == 101
    assert by_route[OTHER][1].requests == 200
    assert sum(series[1].requests for series in by_route.values()) == 300
    assert windows.totals().requests == 300


def test_routes_keep_their_figures_over_a_restart_and_more_than_a_hundred_stay_together(
    worker: Worker,
) -> None:
    with closing(worker(1)) as first:
        for number in range(150):
            first.observe(observed(f"/{number}" + "é" * 100, float(number)))
    again = worker(1)
    for number in range(150):
        again.observe(observed(f"/{number}" + "é" * 100, float(number)))
    assert {route: series[1].requests for route, series in again.by_route().items()}[OTHER] == 100
    assert {series["count"] for series in again.histograms().values()} == {2, 100}
    assert len(again.by_route()) == 101


@pytest.mark.parametrize("duration_ms", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300])
def test_a_duration_that_cannot_be_does_no_harm(duration_ms: float) -> None:
    windows = Windows(clock=Clock())
    windows.observe(observed("/a", duration_ms))
    windows.observe(observed("\ud800\0", 10.0))
    totals = windows.totals()
    assert totals.requests == 2
    assert 0 <= totals.average_ms <= LARGEST_MS
    assert all(0 <= series["sum_ms"] <= LARGEST_MS for series in windows.histograms().values())


def test_a_histogram_counts_each_response_at_or_under_its_bounds() -> None:
    windows = Windows(clock=Clock())
    for duration in (1.0, 7.0, 30.0, 300.0, 30_000.0):
        windows.observe(observed("/a", duration, limited=duration == 7.0))
    told = windows.histograms(BOUNDS_MS)["/a"]
    assert told == {
        "counts": [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4],
        "count": 5,
        "errors": 0,
        "limited": 1,
        "sum_ms": 30_338.0,
    }
    with pytest.raises(ValueError, match="BOUNDS_MS"):
        windows.histograms([1.0])


def test_several_workers_are_one_that_has_seen_everything(worker: Worker, clock: Clock) -> None:
    rng, one, several = random.Random(3), Windows(clock=clock), [worker(number) for number in (1, 2, 3)]
    for number in range(4_000):
        clock.now += rng.expovariate(5.0)
        response = observed(
            f"/{rng.randrange(9)}",
            rng.lognormvariate(3, 2),
            error=rng.random() < 0.1,
            limited=rng.random() < 0.1,
        )
        # No two in the same batch have the same time, so that "the last hundred" are the same ones.
        for windows in (one, rng.choice(several)):
            windows.observe(response)
            windows.commit()
        if number % 400 == 0:
            for windows in several:
                windows.tick()
            for windows in several:
                assert windows.summaries() == one.summaries()
                assert windows.by_route() == one.by_route()
                assert windows.totals()[:3] == one.totals()[:3]
                assert windows.totals().average_ms == pytest.approx(one.totals().average_ms)
                assert windows.histograms().keys() == one.histograms().keys()
                for route, series in windows.histograms().items():
                    expected = one.histograms()[route]
                    assert series == {**expected, "sum_ms": pytest.approx(expected["sum_ms"])}


def test_a_dead_workers_totals_stay_and_its_windows_go(worker: Worker, clock: Clock) -> None:
    dead, alive = worker(1), worker(2)
    dead.observe(observed("/a", 10.0))
    dead.publish(events_written=5, queue_depth=7)
    dead.tick()
    clock.now += SILENT_SECONDS
    assert (alive.summaries()[1].requests, alive.published()["queue_depth"], len(alive.workers())) == (
        1,
        7.0,
        2,
    )
    clock.now += 1
    assert (alive.summaries()[1].requests, alive.published()["queue_depth"], len(alive.workers())) == (
        0,
        0.0,
        1,
    )
    assert (alive.totals().requests, alive.published()["events_written"]) == (1, 5.0)
    assert alive.histograms()["/a"]["count"] == 1


def test_what_workers_tell_is_added_or_the_worst_of_it_holds(worker: Worker) -> None:
    first, second = worker(1), worker(2)
    first.publish(events_written=10, inflight=2, loop_lag_ms=5.0, pid=11)
    second.publish(events_written=20, inflight=3, loop_lag_ms=50.0, pid=22)
    told = first.published()
    assert (told["events_written"], told["inflight"], told["loop_lag_ms"]) == (30.0, 5.0, 50.0)
    assert told == second.published()
    assert [values["pid"] for values in second.workers()] == [22.0, 11.0]
    second.close()
    replaced = worker(2)
    replaced.publish(events_written=1, inflight=0, loop_lag_ms=0.0)
    assert first.published()["events_written"] == 31.0


def test_windows_and_totals_outlive_the_process(worker: Worker, clock: Clock) -> None:
    with closing(worker(1)) as before:
        for _ in range(500):
            clock.now += 1.7
            before.observe(observed("/a", clock.now, error=True))
            before.commit(int(clock.now))
        expected = before.summaries(), before.by_route(), before.totals(), before.counted
    after = worker(1)
    assert (after.summaries(), after.by_route(), after.totals(), after.counted) == expected
    clock.now += 61
    assert after.summaries()[1].requests == 0
    assert after.summaries()[5].requests < expected[0][5].requests


def test_a_process_that_was_killed_leaves_all_seconds_but_the_last(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "worker-1.windows"
    killed = Windows(path, clock, boot="one")
    for _ in range(10):
        clock.now += 1
        killed.observe(observed("/a", 10.0))
        killed.tick()
    after = Windows(path, clock, boot="one")
    assert (after.summaries()[1].requests, after.totals().requests) == (9, 10)


def test_after_the_machine_started_again_the_windows_are_empty_and_the_totals_are_not(
    tmp_path: Path, clock: Clock
) -> None:
    for number in (1, 2):
        with closing(Windows(tmp_path / f"worker-{number}.windows", clock, boot="one")) as before:
            for _ in range(60):
                before.observe(observed("/a", 10.0))
    clock.now = 5.0
    after = Windows(tmp_path / "worker-1.windows", clock, boot="two")
    assert (after.summaries()[15].requests, after.totals().requests) == (0, 120)
    for _ in range(50):
        after.observe(observed("/a", 20.0))
    assert after.summaries()[15].requests == 50
    assert after.totals().average_ms == 15.0, "responses of before are older than any of now"


def test_the_number_that_is_stored_is_the_one_that_was_committed_with_the_totals(worker: Worker) -> None:
    windows = worker(1)
    windows.observe(observed("/a", 1.0))
    windows.commit(42)
    windows.observe(observed("/a", 1.0))
    windows.tick()
    assert (windows.counted, worker(1).counted) == (42, 42)
    windows.commit(0)  # The ring was begun anew.
    assert (windows.counted, worker(1).counted) == (0, 0)


def test_threads_may_observe_while_others_ask() -> None:
    windows = Windows()

    def observe() -> None:
        for _ in range(5_000):
            windows.observe(observed("/a", 10.0))

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        windows.commit()
    assert windows.totals().requests == 20_000


def test_more_cells_than_there_is_room_for_make_windows_longer_by_seconds_and_their_quantiles_stay_true(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for ten cells a second, and five times as many in each."""
    monkeypatch.setattr(rolling, "CELLS", 9_000)
    rng, windows, truth = random.Random(5), Windows(clock=clock), deque[tuple[int, float]]()
    for _ in range(1_200):
        clock.now += 1
        for _ in range(100):
            duration = rng.lognormvariate(3, 0.3)
            windows.observe(observed("/a", duration))
            truth.append((int(clock.now), duration))
        windows.tick()
    longest = 0
    for minutes, summary in windows.summaries().items():
        since = int(clock.now) - minutes * 60
        found = next(
            more for more in range(15) if summary.requests <= sum(at > since - more for at, _ in truth)
        )
        durations = [ms for at, ms in truth if at > since - found]
        assert summary.requests == len(durations)
        assert summary.p95_ms == pytest.approx(nearest_rank(durations, 0.95), rel=0.0101)
        longest = max(longest, found)
    assert longest > 0


def test_twelve_errors_in_1543_requests_are_0_78_percent() -> None:
    assert percent(12, 1543) == 0.78
    assert percent(0, 0) == 0.0
