"""What every `Carrier` promises: what is read back is what was sent, and nobody adds a header."""

import email
import email.policy
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.mail.carrier import Carrier, Refused, Unreachable
from server.mail.folder import Folder
from server.mail.message import Message, rendered
from server.mail.smtp import MailServer, Server
from tests.harness import free_port
from tests.mailbox import open_mailbox
from tests.shared import naughty_strings

SENDER = "chat@example.com"
ID = "5489f6daf6bd54503d1cd855611ca3f8"
Opened = tuple[Carrier, Callable[[], list[bytes]]]


@contextmanager
def _smtp(folder: Path) -> Iterator[Opened]:
    with open_mailbox() as mailbox:
        yield (
            MailServer(Server("127.0.0.1", mailbox.port, "none"), SENDER),
            lambda: [received.content for received in mailbox.received],
        )


@contextmanager
def _folder(folder: Path) -> Iterator[Opened]:
    def read() -> list[bytes]:
        files = sorted((folder / "mail").iterdir()) if (folder / "mail").exists() else []
        return [file.read_bytes() for file in files]

    yield Folder(folder / "mail", SENDER), read


IMPLEMENTATIONS: dict[str, Callable[[Path], AbstractContextManager[Opened]]] = {
    "smtp": _smtp,
    "folder": _folder,
}


@pytest.fixture(params=IMPLEMENTATIONS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    with IMPLEMENTATIONS[request.param](tmp_path) as both:
        yield both


def message(subject: str = "Hello", text: str = "A line.\n", to: str = "ada@example.com") -> Message:
    return Message(to, subject, text, id=ID, request_id="abc-123")


def mail_in(content: bytes) -> EmailMessage:
    found = email.message_from_string(content.decode(), policy=email.policy.SMTPUTF8)
    assert isinstance(found, EmailMessage)
    return found


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert isinstance(part, EmailMessage)
    return str(part.get_content()).replace("\r\n", "\n")  # as lines end on the wire


async def test_what_is_read_back_is_what_was_sent(opened: Opened) -> None:
    carrier, read = opened
    sent = message(text="Ein Gruß aus Zürich: https://chat.example.com/verify?a=1&b=2\n\nBis bald.\n")
    assert carrier.available
    assert await carrier.send(sent)
    (content,) = read()
    mail = mail_in(content)
    assert mail["To"].addresses[0].addr_spec == "ada@example.com"
    assert mail["From"].addresses[0].addr_spec == SENDER
    assert mail["Subject"] == "Hello"
    assert mail["X-Request-ID"] == "abc-123"
    assert mail["Message-ID"] == f"<{ID}@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(mail["Date"]).tzinfo is not None
    assert text_of(mail) == sent.text
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


async def test_the_same_letter_has_the_same_message_id_each_time(opened: Opened) -> None:
    carrier, read = opened
    for _ in range(2):
        await carrier.send(message())
    assert len({mail_in(content)["Message-ID"] for content in read()}) == 1
    assert len(read()) == 2


async def test_the_html_says_the_same_and_loads_nothing(opened: Opened) -> None:
    carrier, read = opened
    link = "https://chat.example.com/verify#t=a&b"
    await carrier.send(
        Message("ada@example.com", "x", f"<img src=http://evil.example/>\n\nHere: {link}\n", link=link, id=ID)
    )
    html = text_of(mail_in(read()[0]), "html")
    assert "&lt;img src=http://evil.example/&gt;" in html
    assert (
        '<a href="https://chat.example.com/verify#t=a&amp;b">https://chat.example.com/verify#t=a&amp;b</a>'
        in html
    )
    assert set(re.findall(r"<(\w+)", html)) == {"html", "head", "meta", "body", "p", "a"}


async def test_a_link_that_runs_something_is_no_link(opened: Opened) -> None:
    carrier, read = opened
    link = "javascript:alert(1)"
    await carrier.send(Message("ada@example.com", "x", link, link=link, id=ID))
    assert "<a" not in text_of(mail_in(read()[0]), "html")


async def test_html_of_ones_own_is_sent_as_it_is(opened: Opened) -> None:
    carrier, read = opened
    await carrier.send(Message("ada@example.com", "x", "Hello", html="<p>Grüße</p>\n", id=ID))
    assert text_of(mail_in(read()[0]), "html") == "<p>Grüße</p>\n"


def stands_on_one_line(text: str) -> bool:
    return not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text)


async def test_a_naughty_subject_arrives_as_it_is_or_is_refused(opened: Opened) -> None:
    carrier, read = opened
    refused = 0
    for subject in naughty_strings():
        if not stands_on_one_line(subject):
            with pytest.raises(Refused):
                await carrier.send(message(subject=subject))
            refused += 1
            continue
        await carrier.send(message(subject=subject))
    assert refused > 5
    arrived = sorted(str(mail_in(content)["Subject"]) for content in read())
    assert arrived == sorted(text for text in naughty_strings() if stands_on_one_line(text))


async def test_a_naughty_text_arrives_as_it_is(opened: Opened) -> None:
    carrier, read = opened
    for text in naughty_strings():
        try:
            text.encode()
        except UnicodeEncodeError:
            with pytest.raises(Refused):
                await carrier.send(message(text=text))
            continue
        await carrier.send(message(text=text))
    arrived = [text_of(mail_in(content)).rstrip("\n") for content in read()]
    assert sorted(arrived) == sorted(
        text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") for text in naughty_strings()
    )


async def test_a_text_with_dots_and_long_lines_arrives_as_it_is(opened: Opened) -> None:
    carrier, read = opened
    text = ".\n..\n.hidden\n" + "x" * 5_000 + "\n\n.\n"
    await carrier.send(message(text=text))
    assert text_of(mail_in(read()[0])) == text


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\x00", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\ud800"]
)
@pytest.mark.parametrize("where", ["to", "subject", "request_id", "id"])
async def test_nobody_adds_a_header(opened: Opened, where: str, end: str) -> None:
    carrier, read = opened
    values = {"to": "ada@example.com", "subject": "x", "request_id": "abc", "id": ID}
    values[where] += f"{end}Bcc: eve@example.net"
    with pytest.raises(Refused):
        await carrier.send(Message(text="Hello", **values))
    assert read() == []


@pytest.mark.parametrize(
    "to", ["", "ada", "ada@", "ada@example.com, eve@example.net", "Ada <ada@example.com>", "ada@example.com>"]
)
async def test_what_is_no_address_is_refused(opened: Opened, to: str) -> None:
    carrier, read = opened
    with pytest.raises(Refused):
        await carrier.send(message(to=to))
    assert read() == []


@pytest.mark.parametrize(
    "to",
    [
        "jörg@example.com",
        "用户@example.com",
        '"a b"@example.com',
        "a+b@xn--bcher-kva.example",
        f"{'x' * 64}@{'y' * 60}.example",
    ],
)
async def test_an_unusual_address_is_written_to(opened: Opened, to: str) -> None:
    carrier, read = opened
    await carrier.send(message(to=to, subject="Grüße"))
    assert mail_in(read()[0])["To"].addresses[0].addr_spec == to
    assert mail_in(read()[0])["Subject"] == "Grüße"


@settings(max_examples=100, deadline=None)
@given(subject=st.text(max_size=120), text=st.text(max_size=300))
def test_any_subject_and_any_text_arrive_or_are_refused(subject: str, text: str) -> None:
    try:
        mail = mail_in(rendered(message(subject=subject, text=text), SENDER, datetime.now(UTC)))
    except ValueError:
        assert not stands_on_one_line(subject) or any("\ud800" <= c <= "\udfff" for c in text)
        return
    assert mail["Subject"] == subject
    assert text_of(mail).rstrip("\n") == text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    assert mail.keys().count("To") == 1
    assert "Bcc" not in mail


async def test_where_nothing_can_be_handed_over_another_attempt_is_worth_it(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("in the way")
    for carrier in (
        MailServer(Server("127.0.0.1", free_port(), "none"), SENDER),
        Folder(tmp_path / "a-file" / "mail", SENDER),
    ):
        with pytest.raises(Unreachable):
            await carrier.send(message())
