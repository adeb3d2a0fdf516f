"""The breaker as a state machine: when it opens, whom it lets through, and what it no longer believes."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.upstream.breaker import LONGEST_OPEN_SECONDS, RECENT_CALLS, Attempt, Breaker, Tolerance


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A breaker, its clock, and what it told of."""

    def __init__(self, failures: int = 3, open_seconds: float = 10.0) -> None:
        self.clock = Clock()
        self.told: list[tuple[bool, str]] = []
        self.breaker = Breaker(Tolerance(failures, open_seconds), changed=self._hear, clock=self.clock)

    def _hear(self, *, connected: bool, reason: str) -> None:
        self.told.append((connected, reason))

    def attempt(self) -> Attempt:
        attempt = self.breaker.admit()
        assert attempt is not None
        return attempt

    def fail(self, times: int = 1, seconds: float = 0.0) -> None:
        for _ in range(times):
            self.attempt().failed("HTTP_500", seconds)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_it_opens_after_so_many_failures_in_a_row_and_says_why(watched: Watched) -> None:
    watched.fail(2)
    assert watched.told == []
    watched.fail()
    assert (watched.breaker.state, watched.told) == ("open", [(False, "HTTP_500")])
    assert watched.breaker.admit() is None


def test_a_success_between_failures_starts_the_count_again(watched: Watched) -> None:
    for _ in range(RECENT_CALLS // 4):
        watched.fail(1)
        watched.attempt().succeeded()
        watched.attempt().succeeded()
    assert watched.breaker.state == "closed"


def test_it_opens_when_half_of_the_recent_calls_fail(watched: Watched) -> None:
    for _ in range(RECENT_CALLS // 2):
        assert watched.told == []
        watched.attempt().succeeded()
        watched.fail()
    assert watched.breaker.state == "open"


def test_failures_of_long_ago_do_not_count_as_recent(watched: Watched) -> None:
    for _ in range(RECENT_CALLS):
        watched.attempt().succeeded()
        watched.fail()
        watched.clock.now += 30
    assert watched.breaker.state == "closed"


def test_it_says_when_it_may_be_tried_again(watched: Watched) -> None:
    watched.fail(3)
    assert watched.breaker.retry_seconds == 10
    watched.clock.now += 4
    assert watched.breaker.retry_seconds == 6
    watched.clock.now += 7
    assert (watched.breaker.retry_seconds, watched.breaker.state) == (0, "half_open")


def test_half_open_one_probe_goes_through_and_its_success_closes_it(watched: Watched) -> None:
    watched.fail(3)
    watched.clock.now += 10
    probe = watched.attempt()
    assert watched.breaker.admit() is None
    probe.succeeded()
    assert watched.told == [(False, "HTTP_500"), (True, "")]
    watched.fail(2)
    assert watched.breaker.state == "closed"


def test_a_probe_that_is_being_answered_closes_it_before_it_has_ended(watched: Watched) -> None:
    watched.fail(3)
    watched.clock.now += 10
    probe = watched.attempt()
    probe.answered()
    assert watched.told[-1] == (True, "")
    probe.failed("CUT_OFF")
    watched.fail(2)
    assert watched.breaker.state == "open"


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound(watched: Watched) -> None:
    watched.fail(3)
    waits = []
    for _ in range(6):
        waits.append(watched.breaker.retry_seconds)
        watched.clock.now += watched.breaker.retry_seconds
        watched.fail()
    assert waits == [10, 20, 40, LONGEST_OPEN_SECONDS, LONGEST_OPEN_SECONDS, LONGEST_OPEN_SECONDS]
    assert watched.told == [(False, "HTTP_500")]


def test_a_probe_that_is_given_up_lets_the_next_one_through(watched: Watched) -> None:
    watched.fail(3)
    watched.clock.now += 10
    with watched.attempt():
        assert watched.breaker.admit() is None
    assert watched.breaker.admit() is not None


def test_it_stays_open_as_long_as_the_upstream_asked_within_the_bound(watched: Watched) -> None:
    watched.fail(2)
    watched.fail(1, seconds=45)
    assert watched.breaker.retry_seconds == 45
    other = Watched()
    other.fail(2)
    other.fail(1, seconds=3600)
    assert other.breaker.retry_seconds == LONGEST_OPEN_SECONDS


def test_what_calls_say_that_began_before_it_opened_changes_nothing(watched: Watched) -> None:
    early, late = watched.attempt(), watched.attempt()
    watched.fail(3)
    early.succeeded()
    assert watched.breaker.state == "open"
    watched.clock.now += 5
    late.failed("HTTP_500")
    assert watched.breaker.retry_seconds == 5


class Machine(RuleBasedStateMachine):
    """Any order of calls, outcomes and time."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = Watched()
        self.attempts: list[Attempt] = []

    @rule()
    def call(self) -> None:
        state = self.watched.breaker.state
        attempt = self.watched.breaker.admit()
        assert attempt is None or state != "open"
        if attempt is not None:
            self.attempts.append(attempt)
            if state == "half_open":
                assert self.watched.breaker.admit() is None

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), how=st.sampled_from(["answered", "succeeded", "failed", "given up"]))
    def end(self, data: st.DataObject, how: str) -> None:
        attempt = self.attempts.pop(data.draw(st.integers(0, len(self.attempts) - 1)))
        if how == "answered":
            attempt.answered()
            attempt.succeeded()
        elif how == "succeeded":
            attempt.succeeded()
        elif how == "failed":
            attempt.failed("HTTP_500")
        with attempt:
            pass

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.watched.clock.now += seconds

    @invariant()
    def it_tells_of_each_change_once_and_in_turn(self) -> None:
        told = [connected for connected, _ in self.watched.told]
        assert told == [bool(place % 2) for place in range(len(told))]
        assert (self.watched.breaker.state == "closed") == (not told or told[-1])

    @invariant()
    def nobody_waits_longer_than_the_bound(self) -> None:
        assert 0 <= self.watched.breaker.retry_seconds <= LONGEST_OPEN_SECONDS

    def teardown(self) -> None:
        """When every call has ended, the upstream gets its chance."""
        for attempt in self.attempts:
            with attempt:
                pass
        self.watched.clock.now += LONGEST_OPEN_SECONDS
        assert self.watched.breaker.admit() is not None


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
