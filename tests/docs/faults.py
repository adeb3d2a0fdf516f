"""What is wrong while a document's command runs: one table, each fault really injected and undone afterwards.

A comment before a block names one of them: `<!-- fault: database-gone -->`, or `<!-- after: question -->` where nothing is
wrong. Such a block has a server of its own; after
the block the fault is undone, and a server that was running has to be well again without a restart.
"""

import json
import os
import resource
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from pipeline.segments import MAX_LIVE, live_segments
from tests.docs.asking import (
    ask,
    ask_question,
    get,
    started_with,
    until_counted,
    until_ready,
    until_unready,
)
from tests.docs.database_faults import (
    database_damaged,
    database_deleted,
    database_gone,
    database_lost,
    database_old,
    database_replaced,
    no_documents,
    on_postgresql,
    postgresql_gone,
    postgresql_is_new,
    postgresql_locked,
)
from tests.docs.models import BREAKER_FAILURES, asking, embedding
from tests.embedding_endpoint import embeds
from tests.harness import ServerProcess, exchange, free_port
from tests.mailbox import open_mailbox
from tests.model_endpoint import ModelEndpoint, refuses, serving
from tests.redis import redis_running
from tests.visitors import Visitor, link_token
from tests.waiting import until

QUOTED = "7d3f2b1c-8a4e-4c55-9d0e-2f6f1b9a3c10"
"""The Reference ID that a visitor quotes."""

Fault = Callable[[ServerProcess], Iterator[None]]


def exception(server: ServerProcess) -> Iterator[None]:
    """A bug: a handler raised something that nobody expected."""
    for _ in range(3):
        get(server, "/test/faults/exception")
    server.wait_for("unhandled_exception", 3)
    yield


def question(server: ServerProcess) -> Iterator[None]:
    """Nothing is wrong: a visitor asked something, and quotes this Reference ID."""
    ask_question(server, X_Request_ID=QUOTED)
    yield


def log_not_writable(server: ServerProcess) -> Iterator[None]:
    """The disk takes no more: every write of the server fails, as with a full one."""
    with _nothing_written(server):
        get(server, "/health/live")
        until_unready(server, "log_not_writable")
        yield


def log_folder_blocked(server: ServerProcess) -> Iterator[None]:
    """The server is stopped, and a file stands where the log's folder should be."""
    server.stop()
    away = server.log_dir.with_name("log.away")
    server.log_dir.rename(away)
    server.log_dir.write_bytes(b"")
    yield
    server.log_dir.unlink()
    away.rename(server.log_dir)


def port_taken(server: ServerProcess) -> Iterator[None]:
    """The server is stopped, and another program listens on its port."""
    address = server.address
    server.stop()
    with socket.create_server(address):
        yield


def stopped(server: ServerProcess) -> Iterator[None]:
    """The server was stopped in an orderly way."""
    server.stop()
    yield


def killed(server: ServerProcess) -> Iterator[None]:
    """The server was killed, and nobody has started it again."""
    server.wait_for("server_started")
    server.kill()
    yield


def crashed(server: ServerProcess) -> Iterator[None]:
    """The server was killed and started again, as a supervisor does."""
    server.wait_for("server_started")
    server.kill()
    server.start()
    yield


def killed_on_a_full_disk(server: ServerProcess) -> Iterator[None]:
    """The disk took nothing, visitors came all the same, then the server was killed, and is started again with room."""
    with _nothing_written(server):
        for _ in range(20):
            get(server, "/no-such-page")
        until_counted(server, 20)
        server.kill()
    server.start()
    server.wait_for("events_recovered")
    yield


def burst_on_a_full_disk(server: ServerProcess) -> Iterator[None]:
    """A small ring, a disk that takes nothing, and more visitors than the ring has room for. Then there is room again."""
    with started_with(server, LOG_RING_BYTES="65536"):
        with _nothing_written(server):
            for _ in range(300):
                get(server, "/no-such-page")
        server.wait_for("events_dropped")
        yield


def two_workers(server: ServerProcess) -> Iterator[None]:
    """Nothing is wrong: the server has two workers."""
    with started_with(server, WORKERS="2"):
        server.wait_for("server_started", 2, workers=2)
        yield


def worker_killed(server: ServerProcess) -> Iterator[None]:
    """One of two workers was killed, and replaced."""
    with started_with(server, WORKERS="2"):
        server.wait_for("server_started", 2, workers=2)
        os.kill(server.events("segment_opened")[-1]["pid"], signal.SIGKILL)
        server.wait_for("worker_died")
        server.wait_for("server_started", 3, workers=2)
        yield


def too_many_segments(server: ServerProcess) -> Iterator[None]:
    """Segments are so small, and visitors so many, that there are fifty before the first may go to the archive."""
    with started_with(server, LOG_SEGMENT_BYTES="4096"):
        for _ in range(4000):
            get(server, "/no-such-page")
            if len(live_segments(server.log_dir)) == MAX_LIVE:
                break
        for _ in range(50):
            get(server, "/no-such-page")
        server.wait_for("rotation_postponed")
        yield


def segment_deleted(server: ServerProcess) -> Iterator[None]:
    """Somebody deleted the segment that was being written."""
    server.wait_for("server_started")
    for segment in live_segments(server.log_dir):
        segment.unlink()
    get(server, "/no-such-page")
    server.wait_for("segment_vanished")
    yield


def ring_damaged(server: ServerProcess) -> Iterator[None]:
    """While the server was stopped, something wrote over its ring."""
    server.stop()
    (server.folder / "var" / "state" / "worker-1.ring").write_bytes(b"no ring" * 1000)
    server.start()
    server.wait_for("state_damaged")
    yield


def no_room_for_figures(server: ServerProcess) -> Iterator[None]:
    """The figures file has gone, and at the start there is no room for a new one."""
    server.stop()
    (server.folder / "var" / "state" / "worker-1.windows").unlink()
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # What is started inherits it.
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    server.wait_for("figures_not_kept")
    yield
    server.kill()
    server.start()


def index_blocked(server: ServerProcess) -> Iterator[None]:
    """A file stands where the folder of the indexes should be."""
    server.stop()
    index = server.log_dir / "index"
    shutil.rmtree(index, ignore_errors=True)
    index.write_bytes(b"")
    server.start()
    server.wait_for("log_upkeep_failed")
    yield
    index.unlink(missing_ok=True)


def frozen(server: ServerProcess) -> Iterator[None]:
    """The process is there and does nothing."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    yield
    server.process.send_signal(signal.SIGCONT)


def loop_blocked(server: ServerProcess) -> Iterator[None]:
    """Some code held the event loop for a second."""
    get(server, "/test/faults/busy?seconds=1")
    time.sleep(0.3)  # the loop notes its lag when it wakes
    yield


def slow(server: ServerProcess) -> Iterator[None]:
    """Some answers took long."""
    for _ in range(2):
        get(server, "/test/faults/slow?seconds=1.2")
    yield


def garbage(server: ServerProcess) -> Iterator[None]:
    """A client sent what is not HTTP."""
    for _ in range(2):
        exchange(server.address, b"\x16\x03\x01 hello\r\n\r\n")
    server.wait_for("http_rejected", 2)
    yield


def rate_limited(server: ServerProcess) -> Iterator[None]:
    """Somebody asked twelve times in a moment, somebody else once."""
    with started_with(server, RATE_LIMITS="true", TRUSTED_PROXIES="127.0.0.1"):
        for address in ["203.0.113.7"] * 12 + ["203.0.113.8"]:
            ask_question(server, X_Forwarded_For=address, User_Agent="python-requests/2.32")
        server.wait_for("http_request", 2, status=429)
        yield


def redis(server: ServerProcess) -> Iterator[None]:
    """Nothing is wrong: two workers count together in a Redis, and somebody asked twelve times."""
    with (
        redis_running() as process,
        started_with(server, WORKERS="2", RATE_LIMITS="true", REDIS_URL=process.url),
    ):
        server.wait_for("server_started", 2, workers=2)
        for _ in range(12):
            ask_question(server)
        server.wait_for("http_request", 2, status=429)
        yield


def redis_away(server: ServerProcess) -> Iterator[None]:
    """Redis was killed, and then somebody asked."""
    with redis_running() as process, started_with(server, RATE_LIMITS="true", REDIS_URL=process.url):
        ask_question(server)
        process.kill()
        ask_question(server)
        server.wait_for("dependency_state_changed", dependency="redis", state="disconnected")
        yield


def overloaded(server: ServerProcess) -> Iterator[None]:
    """Many ask at once, and the server answers few at a time."""
    with started_with(server, CHAT_INFLIGHT="1"):
        while not server.events("overload_began"):
            with ThreadPoolExecutor(16) as crowd:
                list(crowd.map(lambda _: ask_question(server), range(32)))
        yield


def foreign_page(server: ServerProcess) -> Iterator[None]:
    """A page that is not in CORS_ORIGINS embeds the widget."""
    for method in ("OPTIONS", "POST"):
        ask(
            server,
            "/api/v1/chat/stream",
            method,
            Origin="https://blog.example.net",
            Access_Control_Request_Method="POST",
        )
    server.wait_for("cors_rejected", 2)
    yield


def stolen_session(server: ServerProcess) -> Iterator[None]:
    """Somebody signed in, and a token of theirs that they had refreshed is used by somebody else; a link is followed twice."""
    visitor = Visitor(server)
    stolen = visitor.sign_in("grace@example.com")["token"]
    visitor.token = visitor.post("/auth/refresh-token").json()["token"]
    Visitor(server, stolen).post("/auth/refresh-token")
    visitor.post("/auth/refresh-token")
    Visitor(server).post("/auth/verify", {"token": link_token(server, "grace@example.com")})
    server.wait_for("verification_failed")
    yield


def signed_in(server: ServerProcess) -> Iterator[None]:
    """Nothing is wrong: somebody has signed in. Whoever ends all sessions of that account has ended theirs."""
    visitor = Visitor(server)
    visitor.sign_in("grace@example.com")
    yield
    assert visitor.get("/auth/session-check").json()["state"] == "expired"


def mail_server_gone(server: ServerProcess) -> Iterator[None]:
    """Nobody listens where the mail server should be, and somebody waits for a letter."""
    with started_with(server, **_mail_server(free_port())):
        _ask_for_a_letter(server)
        server.wait_for("email_delayed")
        yield


def mailbox_unknown(server: ServerProcess) -> Iterator[None]:
    """The mail server knows no mailbox of that name."""
    with open_mailbox() as mailbox, started_with(server, **_mail_server(mailbox.port)):
        mailbox.does = {"rcpt": "550 5.1.1 No such mailbox"}
        _ask_for_a_letter(server)
        server.wait_for("email_given_up")
        until(
            lambda: not json.loads(get(server, "/metrics"))["mail"]["waiting"],
            "a letter that was given up waits no more",
        )
        yield


def with_a_model(server: ServerProcess) -> Iterator[None]:
    """Nothing is wrong: answers are written by a language model, and a visitor has asked."""
    with serving() as model, started_with(server, **asking(model)):
        ask_question(server, X_Request_ID=QUOTED)
        yield


def model_down(server: ServerProcess) -> Iterator[None]:
    """The language model answers 503, whoever asks; visitors asked until it was left alone, and then once more."""
    with serving() as model, started_with(server, **asking(model)):
        model.usually = refuses(503, Retry_After="60")
        for _ in range(BREAKER_FAILURES + 1):
            ask_question(server, X_Request_ID=QUOTED)
        yield


def with_embeddings(server: ServerProcess) -> Iterator[None]:
    """Nothing is wrong: a model embeds, the handbook has a page on refunds, and it alone has been ingested."""
    with _embedding(server):
        yield


def embeddings_down(server: ServerProcess) -> Iterator[None]:
    """The model that embeds answers 503, whoever asks; visitors asked until it was left alone, and then once more."""
    with _embedding(server) as model:
        model.embeds = refuses(503)
        for _ in range(BREAKER_FAILURES + 1):
            ask_question(server, "When does the office open?", X_Request_ID=QUOTED)
        yield


@contextmanager
def _embedding(server: ServerProcess) -> Generator[ModelEndpoint]:
    """Within the block the server finds passages of the handbook by what they mean, too."""
    refunds = "# Refunds\n\nWe refund what was paid within 14 days. Write to the office.\n"
    (server.folder / "handbook" / "refunds.md").write_text(refunds)
    before = dict(server.settings)
    with serving() as model:
        model.embeds = embeds()
        server.stop()
        server.settings |= {"DATABASE_URL": "sqlite+aiosqlite:///var/handbook.db", **embedding(model)}
        try:
            done = server.command("server", "ingest", "handbook")
            assert done.returncode == 0, done.stderr.decode()
            server.start()
            yield model
        finally:
            server.settings = before


def plain_http(server: ServerProcess) -> Iterator[None]:
    """The server runs in production, and is asked without the proxy that ends TLS."""
    host, port = server.address
    server.stop()
    development = dict(server.settings)
    server.settings |= {
        "ENVIRONMENT": "production",
        "INTEGRATION_TEST_MODE": "false",
        "RATE_LIMITS": "true",
        "PORT": str(port),
        "SECRET_KEY": secrets.token_urlsafe(32),
        "DATABASE_URL": "sqlite+aiosqlite:///var/chatkit.db",
        "BASE_URL": "https://chat.example.com",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    server.start()
    server.url = f"http://{host}:{port}"  # it names the address that visitors use
    yield
    server.settings = development


def provider_away(server: ServerProcess) -> Iterator[None]:
    """An identity provider is set up, and does not answer."""
    settings = {
        "ISSUER": f"http://127.0.0.1:{free_port()}",
        "CLIENT_ID": "chatkit",
        "CLIENT_SECRET": "s3cret",
    }
    with started_with(server, **{f"OAUTH_OIDC_{name}": value for name, value in settings.items()}):
        yield


FAULTS: dict[str, Fault] = {
    fault.__name__.replace("_", "-"): fault
    for fault in (
        burst_on_a_full_disk,
        crashed,
        database_damaged,
        database_deleted,
        database_gone,
        database_lost,
        database_old,
        database_replaced,
        embeddings_down,
        exception,
        foreign_page,
        frozen,
        garbage,
        index_blocked,
        killed,
        killed_on_a_full_disk,
        log_folder_blocked,
        log_not_writable,
        loop_blocked,
        mail_server_gone,
        mailbox_unknown,
        model_down,
        no_documents,
        no_room_for_figures,
        on_postgresql,
        overloaded,
        plain_http,
        port_taken,
        postgresql_gone,
        postgresql_is_new,
        postgresql_locked,
        provider_away,
        question,
        rate_limited,
        redis,
        redis_away,
        ring_damaged,
        segment_deleted,
        signed_in,
        slow,
        stolen_session,
        stopped,
        too_many_segments,
        two_workers,
        with_a_model,
        with_embeddings,
        worker_killed,
    )
}


@contextmanager
def injected(name: str, server: ServerProcess) -> Generator[None]:
    """The fault `name` within the block; afterwards a server that still runs must be well again."""
    steps = FAULTS[name](server)
    next(steps)
    try:
        yield
    finally:
        next(steps, None)
    until_ready(server)


def _mail_server(port: int) -> dict[str, str]:
    """Settings for a mail server at that port of this machine."""
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(port),
        "SMTP_TLS": "none",
        "FROM_EMAIL": "chat@example.com",
    }


def _ask_for_a_letter(server: ServerProcess) -> None:
    done = server.command("server", "mail", "ada@example.com")
    assert done.returncode == 0, done.stderr.decode()


@contextmanager
def _nothing_written(server: ServerProcess) -> Generator[None]:
    """Within the block every write of the server fails, as with a full disk."""
    assert server.process is not None
    pid = server.process.pid
    _, hard = limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        if server.process.poll() is None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
