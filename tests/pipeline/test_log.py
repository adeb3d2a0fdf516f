"""The call: what an event holds when it returns."""

import json
import logging
import re
import threading
from typing import Any

import pytest

from pipeline.bridge import Bridge
from pipeline.catalogue import PLANS, Event, Field, Observation, Observe, Observed, declare
from pipeline.context import Request, bound
from pipeline.eventlog import EventLog
from pipeline.log import Fields, Log, NotDurable
from pipeline.log import log as shared_log

from .conftest import Read


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.observed: list[Observed] = []

    def accept(
        self,
        line: bytes,
        level: int,  # noqa: ARG002
        seq: int,
        request: int,  # noqa: ARG002
        observe: Observe | None,
        fields: Fields,
    ) -> int:
        self.lines.append(line)
        if observe is not None and (observation := observe(fields)) is not None:
            self.observed.append(observation)
        return seq

    def check_durable(self) -> None:
        raise NotDurable

    async def flushed(self, number: int) -> None:  # noqa: ARG002
        raise NotDurable

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def kept(log: Log) -> Kept:
    sink = Kept()
    log.direct(sink, level="DEBUG")
    return sink


def test_the_fixed_fields_come_first_in_their_order(log: Log, kept: Kept) -> None:
    with bound(Request("abc-1")) as request:
        request.traced("a" * 32, "b" * 16)
        log.info("email_sent_mock", to_email="ann@example.com")
    (event,) = kept.events
    assert list(event) == (
        "timestamp level service event request_id boot seq version config trace_id span_id to_email".split()
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["timestamp"])
    assert event | {"timestamp": ""} == {
        "timestamp": "", "level": "INFO", "service": "chatkit-backend", "event": "email_sent_mock", "request_id": "abc-1",
        "boot": "test01", "seq": 1, "version": "1.2.3", "config": "abc123", "trace_id": "a" * 32, "span_id": "b" * 16,
        "to_email": "ann@example.com",
    }  # fmt: skip


def test_an_event_outside_a_request_says_so(log: Log, kept: Kept) -> None:
    log.warning("something")
    assert kept.events[0]["request_id"] is None
    assert "trace_id" not in kept.events[0]


def test_levels_below_the_threshold_are_not_written_and_take_no_number(log: Log) -> None:
    sink = Kept()
    log.direct(sink, level="WARNING")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [(event["event"], event["level"], event["seq"]) for event in sink.events] == [
        ("c", "WARNING", 1),
        ("d", "ERROR", 2),
    ]


def test_an_event_of_which_figures_are_made_is_written_at_any_level(log: Log) -> None:
    declare(
        [
            Event(
                "counted",
                "INFO",
                "",
                {"n": Field("")},
                always=True,
                observe=lambda f: Observation("r", f["n"], False, False),
            )
        ]
    )
    sink = Kept()
    log.direct(sink, level="ERROR")
    log.info("counted", n=5)
    assert [event["event"] for event in sink.events] == ["counted"]
    assert sink.observed == [Observation("r", 5, error=False, limited=False)]


def test_an_undeclared_event_is_searched_in_names_and_values(log: Log, kept: Kept) -> None:
    log.info("anything", note="token=abcdef", headers={"Cookie": "x"}, level="mine", seq=99)
    event = kept.events[0]
    assert event["note"] == "token=[redacted]"
    assert event["headers"] == {"Cookie": "[redacted]"}
    assert (event["level"], event["level_"]) == ("INFO", "mine")
    assert (event["seq"], event["seq_"]) == (1, 99)


def test_a_declared_event_is_searched_only_where_others_write(log: Log, kept: Kept) -> None:
    declare([Event("told", "INFO", "", {"fixed": Field(""), "said": Field("", free=True)})])
    log.info("told", fixed="password=plain", said="password=plain")
    assert kept.events[0]["fixed"] == "password=plain"
    assert kept.events[0]["said"] == "password=[redacted]"


def test_a_field_that_is_not_declared_is_searched_like_a_stranger(log: Log, kept: Kept) -> None:
    declare([Event("known_but", "INFO", "", {"n": Field("")})])
    log.info("known_but", n=1, extra="password=plain", api_key="k", boot="b")
    event = kept.events[0]
    assert (event["n"], event["extra"], event["api_key"], event["boot_"]) == (
        1,
        "password=[redacted]",
        "[redacted]",
        "b",
    )


def test_two_declarations_of_one_name_must_agree() -> None:
    declare([Event("agreed", "INFO", "the same")])
    declare([Event("agreed", "INFO", "the same")])
    with pytest.raises(ValueError, match="agreed"):
        declare([Event("agreed", "INFO", "something else")])
    assert "agreed" in PLANS


class Exploding:
    def __str__(self) -> str:
        raise RuntimeError("boom")

    def __hash__(self) -> int:
        raise RuntimeError("boom")


@pytest.mark.parametrize("event", [Exploding(), 7, None, "x" * 10_000, "a\nb"])
@pytest.mark.parametrize("value", [Exploding(), {"deep": Exploding()}, "\ud800"])
def test_no_call_raises_whatever_it_is_given(log: Log, kept: Kept, event: Any, value: object) -> None:
    try:
        log.info(event, value=value)
    except RuntimeError:
        assert isinstance(event, Exploding)  # its own __str__ has nothing to say
        return
    assert len(kept.lines) == 1
    assert kept.lines[0].count(b"\n") == 1


def test_a_value_whose_own_text_logs_does_not_lock_the_log(log: Log, kept: Kept) -> None:
    class Chatty:
        def __str__(self) -> str:
            log.info("inner")
            return "chatty"

    log.info("outer", value=Chatty())
    assert sorted(event["event"] for event in kept.events) == ["inner", "outer"]
    assert len({event["seq"] for event in kept.events}) == 2


async def test_events_from_many_threads_have_each_number_once(
    log: Log, events: EventLog, written: Read
) -> None:
    def work() -> None:
        for number in range(500):
            log.info("from_a_thread", number=number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await events.close()
    assert sorted(event["seq"] for event in written()) == list(range(2, 4002))


def test_the_libraries_records_become_events(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    logger = logging.Logger("some.library")  # noqa: LOG001 - one that no other test shares
    logger.addHandler(Bridge())
    shared_log.direct(None, level="DEBUG")
    with bound(Request("abc-1")):
        logger.warning("could not open %s", "postgres://u:pw@h/db", extra={"attempt": 3})
        try:
            raise KeyError("token=abcdef")  # noqa: TRY301
        except KeyError:
            logger.exception("failed")
        logger.info("%d %d", "not a number")  # noqa: PLE1206 - that it does not fit is the point
        logger.debug("detail")
    shared_log.direct(None)
    told = [json.loads(line) for line in capsysbinary.readouterr().err.splitlines()]
    assert [event["level"] for event in told] == ["WARNING", "ERROR", "INFO", "DEBUG"]
    assert {event["event"] for event in told} == {"log_record"}
    assert {event["request_id"] for event in told} == {"abc-1"}
    assert told[0]["message"] == "could not open postgres://[redacted]@h/db"
    assert (told[0]["logger"], told[0]["attempt"]) == ("some.library", 3)
    assert told[1]["exception_type"] == "KeyError"
    assert told[1]["exception_message"] == "'token=[redacted]'"
    assert "arguments that do not fit" in told[2]["message"]


def test_a_value_that_logs_through_logging_and_a_library_that_does_cannot_lock_each_other_out(
    kept: Kept,
) -> None:
    logger = logging.Logger("some.library")  # noqa: LOG001 - one that no other test shares
    logger.addHandler(Bridge())

    class Chatty:
        def __str__(self) -> str:
            logger.info("from within")
            return "chatty"

    def events() -> None:
        for _ in range(2_000):
            shared_log.info("plain_value", value=Chatty())

    def records() -> None:
        for _ in range(2_000):
            logger.info("%s", "x")

    declare([Event("plain_value", "INFO", "", {"value": Field("")})])
    shared_log.direct(kept, level="DEBUG")
    try:
        one = threading.Thread(target=events, daemon=True)
        other = threading.Thread(target=records, daemon=True)
        for thread in (one, other):
            thread.start()
        for thread in (one, other):
            thread.join(30)
        assert not one.is_alive()
        assert not other.is_alive()
    finally:
        shared_log.direct(None)
    assert len(kept.lines) == 6_000
