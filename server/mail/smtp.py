"""Messages to a mail server, by SMTP (RFC 5321): a connection for each, encrypted unless somebody asked for the opposite.

What keeps a message from being taken is told apart by whom it concerns. An answer of 500 and above to the recipient or to the message
itself will not change. One to the log-in or the sender is about our settings, which somebody will mend; and a server that cannot be
reached comes back. Those are for another attempt.

A connection that breaks after the message and before the answer leaves open whether it was taken. It counts as not taken: the message
goes out again with the same Message-ID, rather than perhaps not at all.
"""

import asyncio
import contextlib
import re
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from .carrier import Refused, Undeliverable, Undelivered, Unreachable
from .message import Message, needs_utf8, rendered

if TYPE_CHECKING:
    from aiosmtplib import errors

CONNECT_SECONDS = 10.0
STEP_SECONDS = 30.0
"""How long one answer may take. RFC 5321 allows minutes, for servers that search a message while the client waits; a letter can."""
ALL_SECONDS = 60.0
GOODBYE_SECONDS = 2.0

_OUR_FAULT = {530, 534, 535, 538}
"""RFC 4954: answers that ask for a log-in, or for another; the recipient has nothing to do with them."""
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|\Z)")
"""RFC 3463: a second code before the words, such as 5.1.1, no such mailbox."""


class Server(NamedTuple):
    """A mail server, and who we are to it. `helo` is the name that we give: a domain, or an address in brackets."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str | None = None
    password: str | None = None
    helo: str = "[127.0.0.1]"


class MailServer:
    """Hands messages from `sender` to `server`; `context` says which certificates it believes, by default those of the system."""

    mock = False
    available = True

    def __init__(
        self,
        server: Server,
        sender: str,
        context: ssl.SSLContext | None = None,
        *,
        step_seconds: float = STEP_SECONDS,
        all_seconds: float = ALL_SECONDS,
    ) -> None:
        # Now, and not while somebody waits for an answer.
        import aiosmtplib  # noqa: F401

        self._server = server
        self._sender = sender
        self._context = context
        self._step_seconds = step_seconds
        self._all_seconds = all_seconds

    async def send(self, message: Message) -> str:
        """Send it; the server's answer."""
        try:
            mail = rendered(message, self._sender, datetime.now(UTC))
        except ValueError as error:
            raise Refused("message", type(error).__name__) from error
        talk = _Talk(self._server, self._context, self._step_seconds)
        try:
            async with asyncio.timeout(self._all_seconds):
                await talk.begin()
                receipt = await talk.hand_over(
                    mail, self._sender, message.to, utf8=needs_utf8(message, self._sender)
                )
        except Exception as error:
            raise undelivered(talk.stage, error) from error
        else:
            await talk.say_goodbye()
            return receipt
        finally:
            talk.close()


class _Talk:
    """One connection, and `stage`: how far it has come."""

    def __init__(self, server: Server, context: ssl.SSLContext | None, step_seconds: float) -> None:
        from aiosmtplib import SMTP

        self.stage = "connect"
        self._server = server
        self._step_seconds = step_seconds
        self._client: SMTP = SMTP(
            hostname=server.host,
            port=server.port,
            # Given, so that nobody asks a name server for our own name.
            local_hostname=server.helo,
            timeout=min(CONNECT_SECONDS, step_seconds),
            use_tls=server.security == "tls",
            start_tls=False,
            tls_context=context,
        )

    async def begin(self) -> None:
        """Connect, encrypt, greet, log in."""
        client = self._client
        await client.connect()
        client.timeout = self._step_seconds
        if self._server.security == "starttls":
            self.stage = "tls"
            await client.starttls()
        self.stage = "hello"
        await client.ehlo()
        if self._server.user:
            self.stage = "login"
            await client.login(self._server.user, self._server.password or "")

    async def hand_over(self, mail: bytes, sender: str, to: str, *, utf8: bool) -> str:
        """One transaction (RFC 5321, section 3.3); the answer with which the server takes the mail."""
        client = self._client
        # RFC 6531, section 3.4: who asks for the one asks for the other.
        options = ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else []
        encoding = "utf-8" if utf8 else "ascii"
        if utf8 and not client.supports_extension("smtputf8"):
            raise Refused("recipient", "NotSupported")
        self.stage = "sender"
        await client.mail(sender, options=options, encoding=encoding)
        self.stage = "recipient"
        await client.rcpt(to, encoding=encoding)
        self.stage = "data"
        return (await client.data(mail)).message

    async def say_goodbye(self) -> None:
        """The mail is taken, whatever becomes of the connection now."""
        from aiosmtplib import SMTPException

        with contextlib.suppress(SMTPException, OSError):
            await self._client.quit(timeout=GOODBYE_SECONDS)

    def close(self) -> None:
        """Let the connection go, however far it came."""
        self._client.close()


def undelivered(stage: str, error: Exception) -> Undelivered:
    """What `error`, seen at `stage`, means for the message."""
    from aiosmtplib import errors

    if isinstance(error, Undelivered):
        return error
    if isinstance(error, errors.SMTPResponseException):
        return _answered(stage, error)
    if stage == "recipient" and isinstance(error, ValueError):  # an address that SMTP has no form for
        return Refused(stage, type(error).__name__)
    # The library's own error says less than what the system told it.
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    reason = "NotSupported" if type(cause) is errors.SMTPException else type(cause).__name__
    return Unreachable(stage, reason, getattr(cause, "verify_message", None) or None)


def _answered(stage: str, error: "errors.SMTPResponseException") -> Undelivered:
    """The server answered with a code of 400 or more."""
    kind: type[Undelivered] = Undeliverable
    if error.code == 421 or error.code in _OUR_FAULT or stage not in {"recipient", "data"}:
        kind = Unreachable
    elif error.code >= 500:
        kind = Refused
    enhanced = _ENHANCED.match(error.message)
    return kind(stage, type(error).__name__, f"{error.code} {enhanced[0]}" if enhanced else str(error.code))
