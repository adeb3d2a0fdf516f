"""Several processes on one outbox, and what a kill costs."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness import ROOT, clean_environment
from tests.mailbox import STALL, Mailbox
from tests.server.mail.post import Post
from tests.waiting import ENOUGH_SECONDS, soon

LEASE_SECONDS = 2.0


@contextmanager
def worker(post: Post) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.server.mail.worker",
            post.url,
            str(post.mailbox.port),
            str(LEASE_SECONDS),
        ],
        cwd=ROOT,
        env=clean_environment(),
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(ENOUGH_SECONDS)


async def test_three_processes_send_each_letter_once(post: Post, mailbox: Mailbox) -> None:
    subjects = [f"Letter {number}" for number in range(200)]
    await post.put(post.outbox(), *subjects)
    with worker(post), worker(post), worker(post):
        await post.until_empty()
    assert sorted(mailbox.subjects) == sorted(subjects)


async def test_the_letters_of_a_killed_process_are_sent_when_its_lease_ends(
    post: Post, mailbox: Mailbox
) -> None:
    mailbox.does = {"rcpt": STALL}
    subjects = [f"Letter {number}" for number in range(10)]
    await post.put(post.outbox(), *subjects)
    with worker(post) as first:
        await soon(lambda: mailbox.stalled >= 4)
        first.kill()
    assert mailbox.received == []
    mailbox.does = {}
    with worker(post):
        await post.until_empty()
    assert sorted(mailbox.subjects) == sorted(subjects)


async def test_a_kill_after_the_mail_servers_answer_sends_a_letter_twice_and_never_not_at_all(
    post: Post, mailbox: Mailbox
) -> None:
    subjects = [f"Letter {number}" for number in range(60)]
    await post.put(post.outbox(), *subjects)
    for kills in range(1, 6):
        with worker(post) as process:
            await soon(lambda kills=kills: len(mailbox.received) >= 8 * kills)  # type: ignore[misc]
            process.kill()
    with worker(post):
        await post.until_empty()
    assert set(mailbox.subjects) == set(subjects)
    # Whoever gets one twice can see that it is one.
    identities = {
        (str(received.mail["Subject"]), received.mail["Message-ID"]) for received in mailbox.received
    }
    assert len(identities) == len(subjects)
    # At each kill only what was under way can double.
    assert sum(count - 1 for count in Counter(mailbox.subjects).values()) <= 5 * 4
