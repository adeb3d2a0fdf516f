"""Mail as the whole server sends it: to a file in development, to a mail server where one is set, and not lost in between."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ServerProcess, exchange, needs, request_bytes, running
from tests.mailbox import STALL, certificate, open_mailbox, server_context
from tests.terminal import serving_on_a_terminal
from tests.waiting import until

PRODUCTION = {
    "ENVIRONMENT": "production",
    "INTEGRATION_TEST_MODE": "false",
    "SECRET_KEY": "q8Zt3vYw0Lk5NnRb7HsXcD2eMfGaPjUiQ4xE6rTyW1o",
    "DATABASE_URL": "sqlite+aiosqlite:///var/chatkit.db",
    "BASE_URL": "https://chat.example.com",
    "TRUSTED_PROXIES": "127.0.0.1",
}


def to(port: int, **settings: str) -> dict[str, str]:
    """Settings for a mail server on this machine."""
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(port),
        "SMTP_TLS": "none",
        "FROM_EMAIL": "chat@example.com",
    } | settings


def ask_for_a_letter(server: ServerProcess, address: str = "ada@example.com") -> str:
    """Put a test letter into the outbox; the ID that its events have."""
    done = server.command("server", "mail", address)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def metrics(server: ServerProcess) -> Any:
    return exchange(server.address, request_bytes("GET", "/metrics")).json()


def test_in_development_a_letter_is_a_file_that_only_its_owner_reads(server: ServerProcess) -> None:
    request_id = ask_for_a_letter(server, "Ada@Example.com")
    (sent,) = server.wait_for("email_sent_mock", request_id=request_id)
    assert sent["to_email"] == "ada@example.com"
    file = server.folder / sent["file"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert b"X-Request-ID: " + request_id.encode() in file.read_bytes()
    assert b"ada@example.com" not in server.stderr.read_bytes()


def test_on_a_terminal_the_file_and_the_link_are_shown(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    with serving_on_a_terminal(tmp_path) as shown_until:
        shown_until(b"Ctrl-C")
        ask_for_a_letter(server)
        text = shown_until(b"Its link").decode()
    (file,) = (tmp_path / "var" / "mail").iterdir()
    assert f"Mail to ada@example.com  var/mail/{file.name}" in text
    assert "Its link     http://127.0.0.1:" in text


def test_an_address_that_is_none_is_said_plainly(tmp_path: Path) -> None:
    done = ServerProcess(tmp_path).command("server", "mail", "ada@nowhere")
    assert done.returncode == 78
    told = json.loads(done.stderr)
    assert (told["event"], told["what"]) == ("start_failed", "send a letter")
    assert "period" in told["reason"]


def test_a_letter_is_not_put_into_a_database_that_is_not_there(tmp_path: Path) -> None:
    done = ServerProcess(tmp_path).command("server", "mail", "ada@example.com")
    assert done.returncode == 78
    assert json.loads(done.stderr)["reason"] == "there is no database at var/chatkit.db"
    assert done.stdout == b""


def test_a_letter_goes_to_the_mail_server_that_is_set_encrypted_and_logged_in(tmp_path: Path) -> None:
    needs("openssl")
    pem = certificate(tmp_path)
    with open_mailbox(starttls=server_context(pem), login=("chat", "hunter2pw")) as mailbox:
        settings = to(mailbox.port, SMTP_TLS="starttls", SMTP_USER="chat", SMTP_PASSWORD="hunter2pw")
        with running(tmp_path / "server", **settings, SSL_CERT_FILE=str(pem)) as server:
            request_id = ask_for_a_letter(server)
            (sent,) = server.wait_for("email_sent", request_id=request_id)
            assert sent["receipt"] == "2.0.0 OK queued as 1"
            assert mailbox.encrypted == [True]
            assert "hunter2pw" not in (server.folder / "stderr.txt").read_text()
            assert "hunter2pw" not in str(server.events())


def test_a_mail_server_that_was_away_gets_the_letter_and_nobody_else_notices(tmp_path: Path) -> None:
    with open_mailbox() as mailbox:
        port = mailbox.port
    with running(tmp_path, **to(port)) as server:
        request_id = ask_for_a_letter(server)
        (delayed,) = server.wait_for("email_delayed", request_id=request_id)
        assert (delayed["stage"], delayed["reason"]) == ("connect", "ConnectionRefusedError")
        (away,) = server.events("dependency_state_changed")
        assert (away["dependency"], away["state"]) == ("mail", "disconnected")
        until(lambda: metrics(server)["mail"]["waiting"] == 1)
        accept = {"Accept": "text/plain; version=0.0.4"}
        exposition = exchange(server.address, request_bytes("GET", "/metrics", accept)).body
        assert b"chatkit_mail_waiting_letters 1.0" in exposition
        beat = server.wait_for("heartbeat", mail_waiting=1)[0]
        assert beat["dependencies"] == {"database": "connected", "mail": "disconnected"}
        assert beat["mail_oldest_seconds"] > 0
        assert exchange(server.address, request_bytes("GET", "/health/ready")).status == 200
        with open_mailbox(port=port) as mailbox:
            server.wait_for("email_sent", request_id=request_id)
            assert len(mailbox.received) == 1
        until(lambda: metrics(server)["mail"] == {"waiting": 0, "oldest_seconds": 0})
        states = [event["state"] for event in server.wait_for("dependency_state_changed", 2)]
        assert states == ["disconnected", "connected"]


def test_a_stop_does_not_wait_for_a_mail_server_that_says_nothing(tmp_path: Path) -> None:
    with open_mailbox() as mailbox, running(tmp_path, **to(mailbox.port)) as server:
        mailbox.does = {"data": STALL}
        request_id = ask_for_a_letter(server)
        until(lambda: mailbox.stalled)
        assert server.stop() == 0
        assert server.events("server_stopped")
        assert not server.events("email_delayed"), "it was not waited for until it took too long"
        mailbox.does = {}
        server.start()
        server.wait_for("email_sent", request_id=request_id)
        assert len(mailbox.received) == 1


def test_two_workers_send_each_letter_once(tmp_path: Path) -> None:
    with open_mailbox() as mailbox, running(tmp_path, **to(mailbox.port), WORKERS="2") as server:
        requests = [ask_for_a_letter(server) for _ in range(5)]
        until(lambda: len(mailbox.received) == 5)
        until(lambda: len(server.events("email_sent")) == 5)
        assert sorted(event["request_id"] for event in server.events("email_sent")) == sorted(requests)


def test_in_production_without_a_mail_server_it_runs_and_says_so(tmp_path: Path) -> None:
    migrated = ServerProcess(tmp_path, **PRODUCTION).command("server", "migrate")
    assert migrated.returncode == 0, migrated.stderr.decode()
    with running(tmp_path, **PRODUCTION) as server:
        (told,) = server.wait_for("mail_not_configured")
        assert told["level"] == "WARNING"
        request_id = ask_for_a_letter(server)
        (delayed,) = server.wait_for("email_delayed", request_id=request_id)
        assert (delayed["stage"], delayed["reason"]) == ("setup", "NoMailServer")
        assert not (tmp_path / "var" / "mail").exists()


@pytest.mark.parametrize("settings", [{}, to(25)])
def test_with_a_mail_server_or_in_development_it_says_nothing(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with running(tmp_path, **settings) as server:
        assert server.events("mail_not_configured") == []
