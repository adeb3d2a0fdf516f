"""A mail server that misbehaves: what that means for a message, and for all others."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.mail.carrier import Refused, Undeliverable, Undelivered, Unreachable
from server.mail.message import Message
from server.mail.smtp import MailServer, Server
from tests.harness import free_port, needs
from tests.mailbox import (
    DROP,
    KEEP_AND_DROP,
    STALL,
    Mailbox,
    certificate,
    client_context,
    open_mailbox,
    server_context,
)

SENDER = "chat@example.com"
LETTER = Message("ada@example.com", "Hello", "A line.\n", id="5489f6da")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with open_mailbox() as opened:
        yield opened


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("openssl")
    return certificate(tmp_path_factory.mktemp("certificate"))


def plain(mailbox: Mailbox, *, step_seconds: float = 20, all_seconds: float = 60) -> MailServer:
    server = Server("127.0.0.1", mailbox.port, "none", helo="chat.example.com")
    return MailServer(server, SENDER, step_seconds=step_seconds, all_seconds=all_seconds)


async def failure(carrier: MailServer, message: Message = LETTER) -> Undelivered:
    with pytest.raises(Undelivered) as error:
        await carrier.send(message)
    assert "ada@" not in str(error.value)
    return error.value


async def test_the_receipt_is_the_servers_own_answer(mailbox: Mailbox) -> None:
    assert await plain(mailbox).send(LETTER) == "2.0.0 OK queued as 1"
    (received,) = mailbox.received
    assert (received.sender, received.recipients) == (SENDER, ["ada@example.com"])
    assert mailbox.helos == ["chat.example.com"]


@pytest.mark.parametrize(
    ("stage", "answer", "kind", "told"),
    [
        ("rcpt", "550 5.1.1 No such mailbox: ada@example.com", Refused, ("recipient", "550 5.1.1")),
        ("rcpt", "554 Relaying denied", Refused, ("recipient", "554")),
        ("data", "554 5.7.1 Looks like spam", Refused, ("data", "554 5.7.1")),
        ("rcpt", "450 4.2.1 Greylisted, come back later", Undeliverable, ("recipient", "450 4.2.1")),
        ("data", "451 4.3.0 Local error", Undeliverable, ("data", "451 4.3.0")),
        ("rcpt", "530 5.7.0 Log in first", Unreachable, ("recipient", "530 5.7.0")),
        ("mail", "550 5.7.1 Not your address", Unreachable, ("sender", "550 5.7.1")),
        ("mail", "451 4.7.1 Not now", Unreachable, ("sender", "451 4.7.1")),
        ("ehlo", "550 Go away", Unreachable, ("hello", "550")),
        ("greeting", "554 No service here", Unreachable, ("connect", "554")),
        ("greeting", "421 4.3.2 Too busy", Unreachable, ("connect", "421 4.3.2")),
        ("rcpt", "421 4.3.2 Shutting down", Unreachable, ("recipient", "421 4.3.2")),
        ("data", "421 4.3.2 Shutting down", Unreachable, ("data", "421 4.3.2")),
    ],
)
async def test_an_answer_concerns_this_letter_or_all_and_is_for_now_or_for_ever(
    mailbox: Mailbox, stage: str, answer: str, kind: type[Undelivered], told: tuple[str, str]
) -> None:
    mailbox.does = {stage: answer}
    failed = await failure(plain(mailbox))
    assert type(failed) is kind
    assert (failed.stage, failed.status) == told
    assert mailbox.received == []
    mailbox.does = {}
    await plain(mailbox).send(LETTER)


@pytest.mark.parametrize("stage", ["greeting", "ehlo", "mail", "rcpt", "data"])
@pytest.mark.parametrize("behaviour", [DROP, STALL])
async def test_a_server_that_breaks_off_or_says_nothing_is_unreachable_in_time(
    mailbox: Mailbox, stage: str, behaviour: str
) -> None:
    mailbox.does = {stage: behaviour}
    failed = await failure(plain(mailbox, step_seconds=0.3))
    assert isinstance(failed, Unreachable)
    assert failed.status is None
    names = {"greeting": "connect", "ehlo": "hello", "mail": "sender", "rcpt": "recipient"}
    assert failed.stage == names.get(stage, stage)
    assert ("Timeout" in failed.reason) == (behaviour == STALL)
    assert mailbox.received == []


async def test_a_server_that_takes_a_little_time_at_every_step_is_given_up_in_all(mailbox: Mailbox) -> None:
    mailbox.does = {"data": STALL}
    failed = await failure(plain(mailbox, all_seconds=0.5))
    assert (type(failed), failed.reason) == (Unreachable, "TimeoutError")


async def test_a_server_that_dies_before_its_answer_counts_as_not_having_it(mailbox: Mailbox) -> None:
    mailbox.does = {"data": KEEP_AND_DROP}
    assert isinstance(await failure(plain(mailbox)), Unreachable)
    mailbox.does = {}
    await plain(mailbox).send(LETTER)
    assert len(mailbox.received) == 2
    assert len({received.mail["Message-ID"] for received in mailbox.received}) == 1


async def test_where_nobody_listens_the_reason_is_the_systems() -> None:
    failed = await failure(MailServer(Server("127.0.0.1", free_port(), "none"), SENDER))
    assert (failed.stage, failed.reason) == ("connect", "ConnectionRefusedError")


async def test_a_name_that_nobody_has_is_unreachable() -> None:
    failed = await failure(MailServer(Server("mail.invalid", 25, "none"), SENDER))
    assert isinstance(failed, Unreachable)
    assert (failed.stage, failed.reason) == ("connect", "gaierror")


async def test_a_cancelled_sending_leaves_no_connection(mailbox: Mailbox) -> None:
    mailbox.does = {"rcpt": STALL}
    sending = asyncio.create_task(plain(mailbox).send(LETTER))
    while not mailbox.helos:
        await asyncio.sleep(0.01)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    while mailbox.open_connections:
        await asyncio.sleep(0.01)


async def test_a_letter_that_takes_utf8_is_refused_by_a_server_that_does_not_know_it() -> None:
    with open_mailbox(utf8=False) as mailbox:
        to_joerg = Message("jörg@example.com", "Hello", "A line.\n", id="5489f6da")
        failed = await failure(plain(mailbox), to_joerg)
        assert (type(failed), failed.reason) == (Refused, "NotSupported")
        await plain(mailbox).send(LETTER)


async def test_starttls_encrypts_before_the_log_in_and_the_letter(pem: Path) -> None:
    with open_mailbox(starttls=server_context(pem), login=("chat", "hunter2pw")) as mailbox:
        server = Server("127.0.0.1", mailbox.port, "starttls", "chat", "hunter2pw")
        await MailServer(server, SENDER, client_context(pem)).send(LETTER)
        assert len(mailbox.received) == 1
        assert mailbox.encrypted == [True]


async def test_tls_from_the_first_byte_works_too(pem: Path) -> None:
    with open_mailbox(tls=server_context(pem)) as mailbox:
        server = Server("127.0.0.1", mailbox.port, "tls")
        await MailServer(server, SENDER, client_context(pem)).send(LETTER)
        assert mailbox.encrypted == [True]


async def test_a_wrong_password_is_our_matter_and_not_the_letters(pem: Path) -> None:
    with open_mailbox(starttls=server_context(pem), login=("chat", "hunter2pw")) as mailbox:
        server = Server("127.0.0.1", mailbox.port, "starttls", "chat", "wrong")
        failed = await failure(MailServer(server, SENDER, client_context(pem)))
        assert isinstance(failed, Unreachable)
        assert (failed.stage, failed.status) == ("login", "535 5.7.8")
        assert "wrong" not in str(failed)


async def test_a_certificate_that_nobody_believes_is_not_spoken_to(pem: Path) -> None:
    with open_mailbox(starttls=server_context(pem)) as mailbox:
        failed = await failure(MailServer(Server("127.0.0.1", mailbox.port, "starttls"), SENDER))
        assert (type(failed), failed.stage) == (Unreachable, "tls")
        assert failed.reason == "SSLCertVerificationError"
        assert failed.status is not None
        assert failed.status.startswith("self")
        assert mailbox.received == []


async def test_from_the_first_byte_neither(pem: Path) -> None:
    with open_mailbox(tls=server_context(pem)) as mailbox:
        failed = await failure(MailServer(Server("127.0.0.1", mailbox.port, "tls"), SENDER))
        assert (type(failed), failed.reason) == (Unreachable, "SSLCertVerificationError")
        assert mailbox.received == []


async def test_a_server_that_does_not_encrypt_gets_neither_log_in_nor_letter(mailbox: Mailbox) -> None:
    server = Server("127.0.0.1", mailbox.port, "starttls", "chat", "hunter2pw")
    failed = await failure(MailServer(server, SENDER))
    assert (type(failed), failed.stage, failed.reason) == (Unreachable, "tls", "NotSupported")
    assert mailbox.received == []


async def test_a_server_that_asks_for_a_log_in_we_do_not_have_is_our_matter(pem: Path) -> None:
    with open_mailbox(starttls=server_context(pem), login=("chat", "hunter2pw")) as mailbox:
        failed = await failure(
            MailServer(Server("127.0.0.1", mailbox.port, "starttls"), SENDER, client_context(pem))
        )
        assert isinstance(failed, Unreachable)
        assert failed.status is not None
        assert failed.status.startswith("530")


async def test_a_hundred_letters_leave_no_connection_behind(mailbox: Mailbox) -> None:
    carrier = plain(mailbox)
    await asyncio.gather(*(carrier.send(LETTER) for _ in range(100)))
    assert len(mailbox.received) == 100
    while mailbox.open_connections:
        await asyncio.sleep(0.01)
