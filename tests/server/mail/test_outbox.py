"""The outbox: what is put in is sent, whatever goes wrong; and what may not be sent, or not kept, is not."""

import asyncio
import random
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import Envelope

from pipeline.context import Request, bound
from server.mail.carrier import Refused, Undeliverable
from server.mail.delivery import GIVE_UP_SECONDS
from server.mail.outbox import AT_ONCE, Letter, Message
from server.store import outbox as table
from server.store import sqlite
from server.store.engine import StoreUnavailable
from tests.mailbox import DROP, STALL, Mailbox
from tests.reading_log import events
from tests.server.mail.post import Clock, Post, running
from tests.waiting import soon

only_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
"""For what is true of a file that one can lock or read."""


def named(written: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in written if event["event"] == name]


async def test_a_letter_arrives_and_nothing_of_it_stays(post: Post, mailbox: Mailbox) -> None:
    outbox = post.outbox()
    async with running(outbox):
        with events() as written, bound(Request("click-1")):
            await post.put(outbox, "Hello")
            await post.until_empty()
    (received,) = mailbox.received
    assert received.recipients == ["ada@example.com"]
    assert received.mail["X-Request-ID"] == "click-1"
    (sent,) = named(written, "email_sent")
    assert sent["request_id"] == "click-1"
    assert (sent["to_email"], sent["kind"], sent["attempts"]) == ("ada@example.com", "verification", 1)
    assert sent["receipt"] == "2.0.0 OK queued as 1"
    assert received.mail["Message-ID"] == f"<{sent['letter']}@example.com>"
    assert outbox.waiting == 0
    assert post.reached == [(True, "")]


async def test_a_letter_that_no_request_asked_for_has_no_request_id(post: Post, mailbox: Mailbox) -> None:
    outbox = post.outbox()
    async with running(outbox):
        with events() as written:
            await post.put(outbox, "Hello")
            await post.until_empty()
    assert "X-Request-ID" not in mailbox.received[0].mail
    assert named(written, "email_sent")[0]["request_id"] is None


async def test_a_letter_is_part_of_its_callers_transaction(post: Post, mailbox: Mailbox) -> None:
    outbox = post.outbox()
    async with running(outbox):
        with pytest.raises(RuntimeError):
            await fail_after_putting(post)
        outbox.wake()
        await post.put(outbox, "Second")
        await post.until_empty()
    assert mailbox.subjects == ["Second"]


async def fail_after_putting(post: Post) -> None:
    async with post.store.writing("test") as connection:
        await post.outbox().put(connection, "verification", "ada@example.com", "First")
        raise RuntimeError


async def test_a_kind_that_nobody_composes_cannot_be_put_in(post: Post) -> None:
    async with post.store.writing("test") as connection:
        with pytest.raises(ValueError, match="newsletter"):
            await post.outbox().put(connection, "newsletter", "ada@example.com", "x")


async def test_a_kind_that_only_a_newer_version_knows_waits_for_it(post: Post, mailbox: Mailbox) -> None:
    older = post.outbox(composers={})
    with events() as written:
        async with running(older):
            await post.put(post.outbox(), "Hello")
            await soon(lambda: named(written, "email_delayed"))
        assert named(written, "email_delayed")[0]["reason"] == "UnknownKind"
        assert mailbox.received == []
        async with running(post.outbox()):
            await post.until_empty()
    assert mailbox.subjects == ["Hello"]


async def test_a_letter_that_nobody_wants_any_more_is_dropped(post: Post, mailbox: Mailbox) -> None:
    async def compose(_: Letter) -> None:
        return None

    outbox = post.outbox(composers={"verification": compose})
    with events() as written:
        async with running(outbox):
            await post.put(outbox, "Hello")
            await soon(lambda: named(written, "email_dropped"))
    assert mailbox.received == []
    assert post.reached == []
    assert await post.rows() == []


async def test_a_letter_that_is_refused_for_good_is_given_up_at_once(post: Post, mailbox: Mailbox) -> None:
    mailbox.does = {"rcpt": "550 5.1.1 No mailbox ada@example.com; token=abcdef0123456789"}
    outbox = post.outbox()
    with events() as written:
        async with running(outbox):
            await post.put(outbox, "Hello")
            await soon(lambda: named(written, "email_given_up"))
    (given_up,) = named(written, "email_given_up")
    assert given_up["level"] == "ERROR"
    assert (given_up["stage"], given_up["status"]) == ("recipient", "550 5.1.1")
    assert (given_up["reason"], given_up["attempts"]) == ("SMTPRecipientRefused", 1)
    assert "No mailbox" not in str(written)
    assert {event["outcome"] for event in named(written, "dependency_call")} <= {"slow"}
    assert post.reached == [(True, "")]
    assert await post.rows() == []


def told_of(written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in written if event["event"] in {"email_delayed", "email_given_up"}]


async def test_a_letter_is_tried_ever_less_often_and_given_up_after_hours(
    post: Post, mailbox: Mailbox, clock: Clock
) -> None:
    mailbox.does = {"rcpt": "450 4.2.1 Later"}
    began = clock.now
    outbox = post.outbox(clock=clock)
    with events() as written:
        async with running(outbox):
            await post.put(outbox, "Hello")
            attempts = 0
            while not named(written, "email_given_up"):
                attempts += 1
                await soon(lambda attempts=attempts: len(told_of(written)) == attempts)  # type: ignore[misc]
                clock.now += told_of(written)[-1].get("next_attempt_seconds", 0) + 0.1
    waits = [event["next_attempt_seconds"] for event in named(written, "email_delayed")]
    assert waits[0] <= 5
    assert max(waits) <= 900
    assert min(waits[8:]) >= 450
    assert [event["attempts"] for event in named(written, "email_delayed")] == list(range(1, len(waits) + 1))
    (given_up,) = named(written, "email_given_up")
    assert given_up["attempts"] == len(waits) + 1
    assert GIVE_UP_SECONDS - 900 <= given_up["age_seconds"] <= clock.now - began
    assert await post.rows() == []
    assert mailbox.received == []


async def test_a_mail_server_that_comes_back_gets_every_letter_at_once(
    post: Post, mailbox: Mailbox, clock: Clock
) -> None:
    mailbox.does = {"greeting": "421 4.3.2 Down"}
    outbox = post.outbox(clock=clock)
    subjects = [f"Letter {number}" for number in range(30)]
    with events() as written:
        async with running(outbox):
            await post.put(outbox, *subjects)
            for _ in range(5):  # one at a time finds that it is still down
                before = len(named(written, "email_delayed"))
                await soon(lambda before=before: len(named(written, "email_delayed")) > before)  # type: ignore[misc]
                clock.now += 61
            attempts = len(named(written, "email_delayed"))
            assert attempts < AT_ONCE + 8
            mailbox.does = {}
            clock.now += 61
            await post.until_empty()  # and the clock stands still: nobody waits for what was put off
    assert sorted(mailbox.subjects) == sorted(subjects)
    states = [connected for connected, _ in post.reached]
    assert states == sorted(states)
    assert (False, "SMTPConnectResponseError") in post.reached
    failed = [event for event in named(written, "dependency_call") if event["outcome"] == "failed"]
    assert {event["dependency"] for event in failed} == {"mail"}
    assert {event["status"] for event in failed} == {"421 4.3.2"}


async def test_the_first_letter_that_goes_through_brings_forward_what_was_put_off_for_minutes(
    post: Post, mailbox: Mailbox, clock: Clock
) -> None:
    mailbox.does = {"greeting": "421 4.3.2 Down"}
    outbox = post.outbox(clock=clock)
    with events() as written:
        async with running(outbox):
            await post.put(outbox, "Old")
            for attempts in range(1, 9):
                await soon(lambda attempts=attempts: len(told_of(written)) == attempts)  # type: ignore[misc]
                clock.now += 0 if attempts == 8 else told_of(written)[-1]["next_attempt_seconds"] + 61
            assert told_of(written)[-1]["next_attempt_seconds"] >= 300
            mailbox.does = {}
            clock.now += 61
            await post.put(outbox, "New")
            await post.until_empty()
    assert mailbox.subjects == ["New", "Old"]


async def test_a_mail_server_that_is_down_is_asked_ever_less_often(
    post: Post, mailbox: Mailbox, clock: Clock
) -> None:
    mailbox.does = {"greeting": "421 4.3.2 Down"}
    outbox = post.outbox(clock=clock)
    with events() as written:
        async with running(outbox):
            await post.put(outbox, *map(str, range(200)))
            for _ in range(600):
                clock.now += 1
                await asyncio.sleep(0.003)
            await soon(lambda: len(named(written, "email_delayed")) > 5)
    assert len(named(written, "email_delayed")) < 60
    assert len(await post.rows()) == 200


async def test_a_restart_tries_at_once_what_was_put_off(post: Post, mailbox: Mailbox, clock: Clock) -> None:
    mailbox.does = {"mail": "550 5.7.1 Not your address"}
    with events() as written:
        async with running(post.outbox(clock=clock)):
            await post.put(post.outbox(clock=clock), "Hello")
            await soon(lambda: named(written, "email_delayed"))
    mailbox.does = {}  # as when FROM_EMAIL was corrected
    async with running(post.outbox(clock=clock)):
        await post.until_empty()  # and the clock stands still: nobody waits for what it was put off to
    assert mailbox.subjects == ["Hello"]


async def test_several_outboxes_send_each_letter_once(post: Post, mailbox: Mailbox) -> None:
    outboxes = [post.outbox() for _ in range(4)]
    subjects = [f"Letter {number}" for number in range(200)]
    async with running(*outboxes):
        for start in range(0, 200, 20):
            await post.put(outboxes[start % 4], *subjects[start : start + 20])
        await post.until_empty()
    assert sorted(mailbox.subjects) == sorted(subjects)


async def test_no_letter_is_lost_to_a_mail_server_that_fails_at_random(
    post: Post, mailbox: Mailbox, clock: Clock, rng: random.Random
) -> None:
    answers = [DROP, "450 4.2.1 Later", "451 4.3.0 Trouble", "421 4.3.2 Busy", None, None, None]
    stages = {"greeting", "mail", "rcpt", "data"}

    def behave(stage: str, _: Envelope) -> str | None:
        return rng.choice(answers) if stage in stages and rng.random() < 0.3 else None

    mailbox.behave = behave
    outboxes = [post.outbox(clock=clock) for _ in range(2)]
    subjects = [f"Letter {number}" for number in range(100)]
    with events() as written:
        async with running(*outboxes):
            await post.put(outboxes[0], *subjects)
            async with asyncio.timeout(60):
                while await post.rows():
                    clock.now += 5
                    await asyncio.sleep(0.01)
    assert named(written, "email_given_up") == []
    assert len(named(written, "email_delayed")) > 20
    # The clock runs so fast that a slow machine may outlive a lease: then a letter comes twice.
    assert set(mailbox.subjects) == set(subjects)


async def test_a_letter_being_sent_is_left_alone_until_its_lease_ends(
    post: Post, mailbox: Mailbox, clock: Clock
) -> None:
    mailbox.does = {"data": STALL}
    stuck = post.outbox(clock=clock)
    async with running(stuck):
        await post.put(stuck, "Hello")
        await soon(lambda: mailbox.stalled)
        mailbox.does = {}
        other = post.outbox(clock=clock)
        async with running(other):
            clock.now += 119
            await asyncio.sleep(0.2)
            assert mailbox.received == []
            clock.now += 2
            await post.until_empty()
    assert mailbox.subjects == ["Hello"]


async def test_a_late_failure_does_not_touch_a_letter_that_another_has_by_then(post: Post) -> None:
    await post.put(post.outbox(), "Hello")
    (letter,) = await table.claim(post.store, "first", 1, 2e9, 2e9 + 120)
    (again,) = await table.claim(post.store, "second", 1, 2e9 + 121, 2e9 + 241)
    assert (letter.id, letter.attempts, again.attempts) == (again.id, 1, 2)
    await table.give_back(post.store, "first", [letter.id], 0)
    assert await table.claim(post.store, "third", 1, 2e9 + 122, 2e9 + 242) == []


async def test_a_claim_takes_as_many_as_it_may_the_longest_due_first(post: Post) -> None:
    async with post.store.writing("test") as connection:
        for number in range(5):
            await table.add(
                connection, "verification", "a@example.com", str(number), request_id=None, now=number
            )
    assert [letter.subject_id for letter in await table.claim(post.store, "x", 3, 10, 130)] == ["0", "1", "2"]
    assert await table.backlog(post.store) == (5, 0, 3)
    assert [letter.subject_id for letter in await table.claim(post.store, "y", 3, 3.5, 130)] == ["3"]


async def test_a_stop_lets_what_is_being_sent_end_and_gives_the_rest_back(
    post: Post, mailbox: Mailbox
) -> None:
    mailbox.does = {"data": STALL}
    outbox = post.outbox()
    task = asyncio.create_task(outbox.run())
    await post.put(outbox, "Hello")
    await soon(lambda: mailbox.stalled)
    await outbox.stop(0.2)
    await task
    mailbox.does = {}
    async with running(post.outbox()):
        await post.until_empty()  # no lease has to end, which would take longer
    assert mailbox.subjects == ["Hello"]


async def test_a_letter_that_is_nearly_sent_is_sent_before_the_stop(post: Post, mailbox: Mailbox) -> None:
    going_on = asyncio.Event()

    async def compose(letter: Letter) -> Message | None:
        await going_on.wait()
        return await post.compose(letter)

    outbox = post.outbox(composers={"verification": compose})
    task = asyncio.create_task(outbox.run())
    await post.put(outbox, "First", "Second", "Third", "Fourth", "Fifth")
    await soon(lambda: len(outbox._sending) == AT_ONCE)
    stopping = asyncio.create_task(outbox.stop(10))
    await asyncio.sleep(0.05)
    going_on.set()
    await stopping
    await task
    assert sorted(mailbox.subjects) == ["First", "Fourth", "Second", "Third"]
    assert len(await post.rows()) == 1


@only_sqlite
async def test_what_was_sent_while_the_database_was_locked_is_sent_once(
    post: Post, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_PRAGMAS", ("PRAGMA busy_timeout = 50", *sqlite._PRAGMAS[1:]))
    other = sqlite3.connect(file_of(post), isolation_level=None, check_same_thread=False)
    mailbox.behave = lambda stage, _: lock(other) if stage == "data" else None
    outbox = post.outbox()
    with events() as written:
        async with running(outbox):
            await post.put(outbox, "Hello")
            await soon(lambda: named(written, "dependency_call"))
            other.execute("ROLLBACK")
            await post.until_empty()
    other.close()
    assert mailbox.subjects == ["Hello"]
    failed = [event for event in named(written, "dependency_call") if event["outcome"] == "failed"]
    assert {event["status"] for event in failed} == {"SQLITE_BUSY"}


def file_of(post: Post) -> Path:
    """The file that the database is."""
    return Path(post.url.partition(":///")[2])


def lock(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")


async def test_a_composer_with_a_bug_is_told_and_tried_again(
    post: Post, mailbox: Mailbox, clock: Clock
) -> None:
    bugs = [KeyError("verification"), StoreUnavailable()]

    async def compose(letter: Letter) -> Message | None:
        if bugs:
            raise bugs.pop(0)
        return await post.compose(letter)

    outbox = post.outbox(composers={"verification": compose}, clock=clock)
    with events() as written:
        async with running(outbox):
            await post.put(outbox, "Hello")
            for count in (1, 2):
                await soon(lambda count=count: len(named(written, "email_delayed")) == count)  # type: ignore[misc]
                clock.now += 11
            await post.until_empty()
    assert mailbox.subjects == ["Hello"]
    assert [event["exception_type"] for event in named(written, "mail_failed")] == ["KeyError"]
    assert {event["stage"] for event in named(written, "email_delayed")} == {"compose"}
    assert post.reached == [(True, "")]


async def test_a_bug_of_the_carriers_costs_no_letter(post: Post, mailbox: Mailbox) -> None:
    class Broken:
        mock = False
        available = True

        async def send(self, _: Message) -> str:
            raise ZeroDivisionError

    with events() as written:
        broken = post.outbox(Broken())
        async with running(broken):
            await post.put(broken, "Hello")
            await soon(lambda: named(written, "email_delayed"))
    assert named(written, "mail_failed")[0]["exception_type"] == "ZeroDivisionError"
    async with running(post.outbox()):
        await post.until_empty()


async def test_an_outbox_outlives_a_table_that_is_gone(post: Post, mailbox: Mailbox) -> None:
    outbox = post.outbox()
    async with running(outbox):
        await asyncio.sleep(0.1)
        async with post.store.writing("test") as connection:
            await connection.exec_driver_sql("ALTER TABLE outbox RENAME TO elsewhere")
        with events() as written:
            await soon(lambda: named(written, "mail_failed"))
        async with post.store.writing("test") as connection:
            await connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO outbox")
        await post.put(outbox, "Hello")
        await post.until_empty()
    assert mailbox.subjects == ["Hello"]


async def test_a_clock_that_is_set_back_holds_nothing_up(post: Post, mailbox: Mailbox, clock: Clock) -> None:
    mailbox.does = {"rcpt": "421 4.3.2 Busy"}
    outbox = post.outbox(clock=clock)
    with events() as written:
        async with running(outbox):
            await post.put(outbox, "Hello")
            await soon(lambda: named(written, "email_delayed"))
            mailbox.does = {}
            clock.now -= 86_400
            await soon(lambda: outbox._quiet_until <= clock.now + 60)
            clock.now += 61
            await post.until_empty()
    assert mailbox.subjects == ["Hello"]


@only_sqlite
async def test_neither_database_nor_log_holds_a_link(post: Post, mailbox: Mailbox, clock: Clock) -> None:
    mailbox.does = {"rcpt": "450 4.2.1 Later"}
    outbox = post.outbox(clock=clock)
    with events() as written:
        async with running(outbox):
            await post.put(outbox, "Hello", "Again")
            await soon(lambda: len(named(written, "email_delayed")) == 2)
            on_disk = everything_in(file_of(post).parent)
            mailbox.does = {}
            clock.now += 6
            await post.until_empty()
    assert len(post.tokens) == 4
    assert b"ada@example.com" in on_disk  # the search finds what is there
    text = str(written).encode()
    for token in post.tokens:
        assert token.encode() not in on_disk
        assert token.encode() not in everything_in(file_of(post).parent)
        assert token.encode() not in text
    assert not re.search(rb"verify#", on_disk + text)
    # The last link is the one in the letter that arrived.
    contents = b"".join(received.content for received in mailbox.received)
    assert sum(token[:20].encode() in contents for token in post.tokens) == 2


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("failure", [Refused("data", "x"), Undeliverable("data", "x", "450 4.2.1")])
def test_a_failure_says_what_it_was(failure: Exception) -> None:
    assert str(failure).startswith("data: x")
