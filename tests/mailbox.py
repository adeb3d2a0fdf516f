"""A mail server of the tests' own: on a free port, it keeps what it takes, and misbehaves as it is told.

What it does at a stage (`greeting`, `ehlo`, `mail`, `rcpt`, `data`) is an answer such as ``450 4.2.1 later``, or `DROP`: the connection breaks,
or `STALL`: no answer ever. At `data` it has read the message by then; `KEEP_AND_DROP` is to take it and break before the answer.
"""

# ruff: noqa: ARG002, N802 - aiosmtpd's names, and what it hands over
import asyncio
import email
import email.policy
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.harness import free_port

DROP = "drop"
STALL = "stall"
KEEP_AND_DROP = "keep and drop"

Behaviour = Callable[[str, Envelope], str | None]
"""What to do at a stage; None is to go on as a well one does."""


class Received(NamedTuple):
    """One message as it was taken, and for whom."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def mail(self) -> EmailMessage:
        found = email.message_from_string(self.content.decode(), policy=email.policy.SMTPUTF8)
        assert isinstance(found, EmailMessage)
        return found


class Mailbox:
    """`received` grows; `does` can be changed at any time, and so can `behave`, for what a table cannot say."""

    def __init__(
        self,
        *,
        port: int | None = None,
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
        utf8: bool = True,
    ) -> None:
        self.port = port or free_port()
        self.received: list[Received] = []
        self.helos: list[str] = []
        self.connections: set[SMTP] = set()
        self.stalled = 0
        """How often somebody was left without an answer."""
        self.encrypted: list[bool] = []
        """Of each message, whether it came over an encrypted connection."""
        self.does: dict[str, str] = {}
        self.behave: Behaviour = lambda stage, _: self.does.get(stage)
        self.lock = threading.Lock()
        self._login = login
        options: dict[str, Any] = {
            "enable_SMTPUTF8": utf8,
            "tls_context": starttls,
            "require_starttls": False,
        }
        if login is not None:
            options |= {"authenticator": self._authenticated, "auth_required": True}
        self._controller = _Controller(self, hostname="127.0.0.1", port=self.port, ssl_context=tls, **options)

    def start(self) -> "Mailbox":
        self._controller.start()
        return self

    def stop(self) -> None:
        """Break every connection, and listen no more."""
        for connection in list(self.connections):
            self._controller.loop.call_soon_threadsafe(_abort, connection)
        deadline = time.monotonic() + 2
        while self.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        self._controller.stop()

    @property
    def open_connections(self) -> int:
        return len(self.connections)

    @property
    def subjects(self) -> list[str]:
        with self.lock:
            return [str(received.mail["Subject"]) for received in self.received]

    def _authenticated(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = data.login.decode(), data.password.decode()
        return AuthResult(success=given == self._login, handled=False)


@contextmanager
def open_mailbox(**options: Any) -> Iterator[Mailbox]:
    """A mailbox that takes mail within the block."""
    mailbox = Mailbox(**options).start()
    try:
        yield mailbox
    finally:
        mailbox.stop()


def certificate(folder: Path, host: str = "127.0.0.1", name: str = "IP") -> Path:
    """A certificate with its key in one file, which only those believe who are told to."""
    path = folder / "certificate.pem"
    subprocess.run(
        [
            *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(),
            *("-subj", "/CN=mailbox", "-addext", f"subjectAltName={name}:{host}"),
            *("-keyout", str(path), "-out", str(folder / "public.pem")),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + (folder / "public.pem").read_bytes())
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    """How a mail server shows `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def client_context(certificate: Path) -> ssl.SSLContext:
    """How a client believes it."""
    return ssl.create_default_context(cafile=str(certificate))


class _Controller(Controller):
    def __init__(self, mailbox: Mailbox, **options: Any) -> None:
        super().__init__(_Handler(mailbox), **options)
        self._mailbox = mailbox

    def factory(self) -> SMTP:
        return _Server(self._mailbox, self.handler, **self.SMTP_kwargs)


class _Server(SMTP):
    """aiosmtpd's, with a greeting that can be other than friendly."""

    def __init__(self, mailbox: Mailbox, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._mailbox = mailbox
        self._greeted = False

    def connection_made(self, transport: Any) -> None:
        if self.transport is None:  # A second time it is the same connection, encrypted.
            self._mailbox.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._mailbox.connections.discard(self)
        super().connection_lost(error)

    async def push(self, status: Any) -> None:
        if not self._greeted:
            self._greeted = True
            told = await _act(self._mailbox, "greeting", self, Envelope())
            if told is not None:
                await super().push(told)
                _transport(self).close()
                return
        await super().push(status)


class _Handler:
    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self._mailbox.helos.append(hostname)
        told = await _act(self._mailbox, "ehlo", server, envelope)
        return responses if told is None else [told]

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> str:
        session.host_name = hostname
        told = await _act(self._mailbox, "ehlo", server, envelope)
        return told or f"250 {server.hostname}"

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        told = await _act(self._mailbox, "mail", server, envelope)
        if told is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return told or "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        told = await _act(self._mailbox, "rcpt", server, envelope)
        if told is not None:
            envelope.rcpt_tos.pop()
        return told or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        behaviour = self._mailbox.behave("data", envelope)
        if behaviour in {None, KEEP_AND_DROP}:
            content = envelope.original_content
            assert content is not None
            with self._mailbox.lock:
                received = Received(str(envelope.mail_from), list(envelope.rcpt_tos), content)
                self._mailbox.received.append(received)
                self._mailbox.encrypted.append(_transport(server).get_extra_info("sslcontext") is not None)
        told = await _done(self._mailbox, behaviour, server)
        return told or f"250 2.0.0 OK queued as {len(self._mailbox.received)}"


def _transport(server: SMTP) -> asyncio.Transport:
    assert isinstance(server.transport, asyncio.Transport)
    return server.transport


def _abort(server: SMTP) -> None:
    _transport(server).abort()


async def _act(mailbox: Mailbox, stage: str, server: SMTP, envelope: Envelope) -> str | None:
    return await _done(mailbox, mailbox.behave(stage, envelope), server)


async def _done(mailbox: Mailbox, behaviour: str | None, server: SMTP) -> str | None:
    """Misbehave; the answer to give instead of the friendly one, if any."""
    if behaviour in {DROP, KEEP_AND_DROP}:
        _abort(server)
        raise asyncio.CancelledError
    if behaviour == STALL:
        mailbox.stalled += 1
        await asyncio.sleep(3600)
    return behaviour
