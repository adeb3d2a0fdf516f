"""A message, and the mail that it becomes (RFC 5322, MIME).

Whatever stands in a header stands on one line: a value with a control character in it is refused, so nobody can add a header, a recipient
or a second message by way of a subject or an address.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from html import escape
from urllib.parse import urlsplit

_SHORT = 60
"""Characters of a subject that need no second line."""
LINE_LIMIT = 998
"""Characters; a longer line may not be sent."""
_BREAKS = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of what may end a line, or is no character: controls, surrogates, separators of lines and paragraphs."""

_ADDRESS = re.compile(
    r"""(?:"(?P<quoted>(?:[^"\\]|\\.)+)"|(?P<plain>[^\s"(),:;<>@\[\\\]]+))@(?P<domain>[^\s"(),:;<>@\[\\\]]+)"""
)
"""RFC 5321, section 4.1.2, without addresses in brackets."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one address.

    Without `html` it is made from `text`. `link` is what the message is for, if it has one; it stands in `text` too. `id` and `request_id`
    are set by the outbox: the letter's, the same at each attempt, and that of the request that asked for it, or an empty text.
    """

    to: str
    subject: str
    text: str
    html: str | None = None
    link: str | None = None
    id: str = ""
    request_id: str = ""


def rendered(message: Message, sender: str, at: datetime) -> bytes:
    """`message` as a mail from `sender`, an address, dated `at`; ASCII, but for an address that is not.

    Plain text with an HTML alternative that loads nothing from anywhere. Raises ``ValueError`` for what cannot be a mail.
    """
    policy = SMTPUTF8 if needs_utf8(message, sender) else SMTP
    mail = EmailMessage(policy=policy.clone(cte_type="7bit", refold_source="none"))
    mail["From"] = _address(sender)
    mail["To"] = _address(message.to)
    mail.set_raw("Subject", _subject(message.subject))
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = message_id(message, sender)
    # RFC 3834: no answer from an absent owner, please.
    mail["Auto-Submitted"] = "auto-generated"
    if message.request_id:
        mail["X-Request-ID"] = _line("request ID", message.request_id)
    mail.set_content(_lines(message.text), cte=_encoding(message.text))
    html = as_html(message.text, message.link) if message.html is None else message.html
    mail.add_alternative(_lines(html), subtype="html", cte="quoted-printable")
    return bytes(mail)


def needs_utf8(message: Message, sender: str) -> bool:
    """Whether it takes a server that knows SMTPUTF8 (RFC 6531): for an address outside of ASCII, and for nothing else."""
    return not (sender + message.to).isascii()


def message_id(message: Message, sender: str) -> str:
    """The same for every attempt at a letter, so that whoever gets it twice sees that it is one (RFC 5322, section 3.6.4)."""
    domain = sender.rpartition("@")[2]
    return f"<{_line('ID', message.id)}@{domain}>"


def as_html(text: str, link: str | None) -> str:
    """`text` as a page of paragraphs, with `link` as a link wherever it stands."""
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", _lines(text)) if part.strip()]
    body = "\n".join(f"<p>{escape(part)}</p>".replace("\n", "<br>\n") for part in paragraphs)
    if link and urlsplit(link).scheme in {"http", "https"}:
        shown = escape(link)
        body = body.replace(shown, f'<a href="{shown}">{shown}</a>')
    return f'<!doctype html>\n<html><head><meta charset="utf-8"></head><body>\n{body}\n</body></html>\n'


def _encoding(text: str) -> str:
    """As it is where every mail server takes that, so that a link stays whole for who reads the file (RFC 5322, section 2.1.1)."""
    plain = text.isascii() and max(map(len, text.split("\n")), default=0) <= LINE_LIMIT
    return "7bit" if plain else "quoted-printable"


def _address(text: str) -> Address:
    """`text` as one address without a name. Raises ``ValueError``."""
    found = _ADDRESS.fullmatch(_line("address", text))
    if found is None:
        raise ValueError("not one address")
    # Taken apart here: the library's own parser refuses letters outside of ASCII, which RFC 6531 allows.
    return Address(
        username=re.sub(r"\\(.)", r"\1", found["quoted"] or found["plain"]), domain=found["domain"]
    )


def _subject(text: str) -> str:
    """`text` as a header's value. Raises ``ValueError``.

    Encoded here (RFC 2047) unless it is plain and short: what the library does by itself loses a space where it folds a long one.
    """
    if (
        text == " ".join(text.split())
        and text.isascii()
        and len(text) <= _SHORT
        and "=?" not in _line("subject", text)
    ):
        return text
    return Header(_line("subject", text), "utf-8", header_name="Subject").encode(linesep="\r\n")


def _line(name: str, text: str) -> str:
    """`text`, fit for a header. Raises ``ValueError`` that names it, and not its value."""
    if any(unicodedata.category(character) in _BREAKS for character in text):
        raise ValueError(f"the {name} holds a character that may not stand in a header")
    return text


def _lines(text: str) -> str:
    """`text` with its lines ended by LF. Raises ``ValueError`` (``UnicodeEncodeError``) for half a character."""
    text.encode()
    return text.replace("\r\n", "\n").replace("\r", "\n")
