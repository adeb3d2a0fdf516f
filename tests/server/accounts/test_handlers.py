"""Signing up, in and out, as a visitor does it: over HTTP, with letters that are read."""

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from tests.harness import Answer, ServerProcess, exchange, free_port, request_bytes, running, with_documents
from tests.visitors import LINK, Visitor, anonymous_token, letters, link_token, text_of
from tests.waiting import ENOUGH_SECONDS, until

_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, documents: Path) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("accounts")
    with_documents(folder, documents)
    with running(folder, CORS_ORIGINS="https://www.example.com") as started:
        yield started


@pytest.fixture
def address() -> str:
    """An address that no other test uses."""
    return f"visitor{next(_numbers)}@example.org"


@pytest.fixture
def visitor(server: ServerProcess) -> Visitor:
    return Visitor(server)


def _code(answer: Answer) -> tuple[int, str]:
    body = answer.json()
    assert body["request_id"] == answer.headers["x-request-id"]
    return answer.status, body["error"]


def test_from_an_address_to_a_session_and_out_again(visitor: Visitor, address: str) -> None:
    assert visitor.get("/auth/session-check").json()["state"] == "anonymous"
    pending = visitor.sign_up(address)
    assert (pending["state"], pending["expires_in"]) == ("verification_pending", 600)
    status = f"/auth/verification-status?verification_id={pending['verification_id']}"
    assert visitor.get(status).json() == {"state": "pending"}

    session = visitor.post("/auth/verify", {"token": link_token(visitor.server, address)}).json()
    assert (session["state"], session["tier"], session["email"]) == ("logged_in", 1, address)
    assert 86_390 <= session["expires_in"] <= 86_400
    assert visitor.get(status).json() == {"state": "verified"}

    visitor.token = session["token"]
    checked = visitor.get("/auth/session-check").json()
    assert (checked["state"], checked["email"], checked["expires_at"]) == (
        "logged_in",
        address,
        session["expires_at"],
    )
    renewed = visitor.post("/auth/refresh-token").json()
    assert visitor.get("/auth/session-check").json()["state"] == "expired"
    visitor.token = renewed["token"]
    assert visitor.post("/auth/logout").json() == {"state": "anonymous"}
    assert visitor.get("/auth/session-check").json()["state"] == "expired"
    assert _code(visitor.post("/auth/logout")) == (401, "session_expired")


def test_each_step_is_in_the_log_under_the_id_that_the_visitor_sent(
    visitor: Visitor, address: str, server: ServerProcess
) -> None:
    visitor.post("/auth/signup", {"email": address, "consent": True}, **{"X-Request-ID": "the-sign-up"})
    token = link_token(server, address)
    visitor.post("/auth/verify", {"token": token}, **{"X-Request-ID": "the-verify"})
    (requested,) = server.wait_for("sign_in_requested", request_id="the-sign-up")
    (sent,) = server.wait_for("email_sent_mock", request_id="the-sign-up")
    (verified,) = server.wait_for("account_verified", request_id="the-verify")
    assert sent["to_email"] == address
    assert verified["verification"] == requested["verification"]
    (request,) = server.wait_for("http_request", request_id="the-verify")
    assert (request["route"], request["status"]) == ("/api/v1/auth/verify", 200)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/auth/signup", {"email": "ada@example.org", "consent": False}, 400, "consent_required"),
        ("/auth/signup", {"email": "ada@example.org"}, 400, "consent_required"),
        ("/auth/signup", {"email": "ada", "consent": True}, 400, "invalid_email"),
        (
            "/auth/signup",
            {"email": "a@example.org\r\nBcc: b@example.org", "consent": True},
            400,
            "invalid_email",
        ),
        ("/auth/signup", {"email": "x" * 400 + "@example.org", "consent": True}, 400, "invalid_email"),
        ("/auth/signup", {"email": 1, "consent": True}, 400, "invalid_request"),
        ("/auth/signup", {"email": "ada@example.org", "consent": "yes"}, 400, "invalid_request"),
        ("/auth/signup", {"consent": True}, 400, "invalid_request"),
        ("/auth/signup", {"email": "ada@example.org", "consent": True, "tier": 3}, 400, "invalid_request"),
        (
            "/auth/signup",
            {"email": "ada@example.org", "consent": True, "page_url": "https://evil.example/"},
            400,
            "invalid_request",
        ),
        (
            "/auth/signup",
            {"email": "ada@example.org", "consent": True, "page_url": "http://["},
            400,
            "invalid_request",
        ),
        ("/auth/resend-verification", {"email": "ada@"}, 400, "invalid_email"),
        ("/auth/verify", {"token": "ckv_" + "x" * 43}, 400, "invalid_token"),
        ("/auth/verify", {"token": ""}, 400, "invalid_request"),
        ("/auth/verify", {}, 400, "invalid_request"),
        ("/auth/refresh-token", None, 401, "unauthorized"),
        ("/auth/logout", None, 401, "unauthorized"),
        ("/auth/migrate-session", {"session": "x"}, 401, "unauthorized"),
    ],
)
def test_what_is_wrong_is_said(visitor: Visitor, path: str, body: object, status: int, code: str) -> None:
    assert _code(visitor.post(path, body)) == (status, code)


@pytest.mark.parametrize("token", ["x", "cks_" + "x" * 43, "ckv_" + "x" * 43, "cka_x", "é", "'; --", "a b c"])
def test_a_session_that_nobody_has_opens_nothing(server: ServerProcess, token: str) -> None:
    visitor = Visitor(server, token)
    for answer in (
        visitor.post("/chat", {"message": "Hello?"}),
        visitor.get("/conversations"),
        visitor.post("/auth/logout"),
        visitor.post("/auth/refresh-token"),
    ):
        assert _code(answer) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert visitor.get("/auth/session-check").json()["state"] == "expired"


@pytest.mark.parametrize(
    "query", ["", "?verification_id=x", "?verification_id=" + "0" * 31, "?verification=1"]
)
def test_a_status_is_asked_for_by_its_id(visitor: Visitor, query: str) -> None:
    assert _code(visitor.get(f"/auth/verification-status{query}")) == (400, "invalid_request")


def test_a_verification_that_is_not_known_is_not_found(visitor: Visitor) -> None:
    answer = visitor.get(f"/auth/verification-status?verification_id={'0' * 32}")
    assert _code(answer) == (404, "not_found")


def test_of_twenty_who_come_with_one_link_one_is_let_in(visitor: Visitor, address: str) -> None:
    visitor.sign_up(address)
    token = link_token(visitor.server, address)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: visitor.post("/auth/verify", {"token": token}), range(20)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 19
    assert {answer.json()["error"] for answer in answers if answer.status == 400} == {"invalid_token"}


def test_fetching_the_link_as_mail_scanners_do_spends_nothing(visitor: Visitor, address: str) -> None:
    visitor.sign_up(address)
    token = link_token(visitor.server, address)
    (letter,) = letters(visitor.server, address)
    link = LINK.search(text_of(letter))
    assert link is not None
    assert link[0].startswith(f"{visitor.server.url}/#")
    for method in ("GET", "HEAD", "GET"):
        assert exchange(visitor.server.address, request_bytes(method, "/")).status == 200
    assert visitor.get("/auth/verify").status == 405
    assert visitor.post("/auth/verify", {"token": token}).status == 200


def test_a_link_leads_back_to_the_page_that_asked(visitor: Visitor, address: str) -> None:
    visitor.sign_up(address, page_url="https://www.example.com/help")
    link_token(visitor.server, address)
    (letter,) = letters(visitor.server, address)
    assert "https://www.example.com/help#chatkit-sign-in=ckv_" in text_of(letter)


def test_who_never_consented_gets_no_letter_and_the_same_answer(visitor: Visitor, address: str) -> None:
    known, unknown = f"known-{address}", f"unknown-{address}"
    visitor.sign_in(known)
    visitor.token = None
    answers = [visitor.post("/auth/resend-verification", {"email": email}) for email in (known, unknown)]
    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].json().keys() == answers[1].json().keys()
    visitor.server.wait_for("email_dropped", request_id=answers[1].headers["x-request-id"])
    assert (len(letters(visitor.server, known)), len(letters(visitor.server, unknown))) == (2, 0)


def test_a_token_that_is_refreshed_again_ends_the_family(
    visitor: Visitor, address: str, server: ServerProcess
) -> None:
    stolen = visitor.sign_in(address)["token"]
    visitor.token = visitor.post("/auth/refresh-token").json()["token"]
    assert visitor.get("/auth/session-check").json()["state"] == "logged_in"
    thief = Visitor(server, stolen).post("/auth/refresh-token")
    assert _code(thief) == (401, "session_expired")
    assert visitor.get("/auth/session-check").json()["state"] == "expired"
    (detected,) = server.wait_for("session_reuse_detected", request_id=thief.headers["x-request-id"])
    assert detected["level"] == "WARNING"


def test_what_was_asked_before_signing_up_is_the_accounts_afterwards_and_nobody_elses(
    server: ServerProcess, address: str
) -> None:
    visitor = Visitor(server, anonymous_token())
    before = visitor.token
    conversation = visitor.ask()["conversation_id"]
    visitor.sign_in(address)
    (found,) = visitor.get("/conversations").json()["conversations"]
    assert found["id"] == conversation
    assert _code(Visitor(server, before).get("/conversations")) == (401, "session_expired")
    assert _code(visitor.post("/auth/migrate-session", {"session": before})) == (404, "session_not_found")


def test_a_session_is_brought_along_later(server: ServerProcess, address: str) -> None:
    anonymous = Visitor(server, anonymous_token())
    conversation = anonymous.ask()["conversation_id"]
    account = Visitor(server)
    account.sign_in(address)
    moved = account.post("/auth/migrate-session", {"session": anonymous.token})
    assert moved.json() == {"conversations": 1}
    assert account.get(f"/conversations/{conversation}").status == 200


def test_the_tier_is_the_sessions_and_no_body_can_claim_one(server: ServerProcess, address: str) -> None:
    visitor = Visitor(server)
    visitor.sign_in(address)
    answer = visitor.post("/chat", {"message": "Hello?"}, **{"X-Request-ID": f"tier-{address[:9]}"})
    (request,) = server.wait_for("http_request", request_id=answer.headers["x-request-id"])
    assert (request["tier"], len(request["session"])) == (1, 32)
    assert _code(visitor.post("/chat", {"message": "Hello?", "tier": 3})) == (400, "invalid_request")


def test_no_byte_that_the_server_keeps_holds_a_token(tmp_path: Path, documents: Path) -> None:
    with_documents(tmp_path / "server", documents)
    with running(tmp_path / "server") as server:
        visitor = Visitor(server, anonymous_token())
        visitor.ask()
        tokens = [visitor.token, visitor.sign_in("ada@example.org")["token"]]
        tokens.append(visitor.post("/auth/refresh-token").json()["token"])
        tokens.append(Visitor(server).ask()["session"]["token"])
        visitor.sign_up("ada@example.org")
        server.wait_for("email_sent_mock", 2)
        tokens += [LINK.search(text_of(letter))[1] for letter in letters(server)]  # type: ignore[index]
        Visitor(server, "cks_" + "y" * 43).get("/conversations")
        server.wait_for("http_request", status=401)
    kept = b"".join(
        file.read_bytes()
        for file in (tmp_path / "server").rglob("*")
        if file.is_file() and "mail" not in file.parts
    )
    assert len(tokens) >= 6
    for token in [*tokens, "cks_" + "y" * 43]:
        assert token is not None
        assert token[4:20].encode() not in kept
    # What would be found if it were there.
    assert b"ada@example.org" in kept


def test_a_key_is_rotated_without_log_outs_and_taken_out_it_ends_its_sessions(
    tmp_path: Path, documents: Path
) -> None:
    old, new = "o1d-Key_" + "kX9q" * 7 + "ab12cd", "n3w-Key_" + "Zw7p" * 7 + "ef34gh"
    folder = tmp_path / "server"
    with_documents(folder, documents)
    made: dict[str, str] = {}
    for keys, expected in (
        (old, {}),
        (f"{new},{old}", {"old": "logged_in"}),
        (new, {"old": "expired", "both": "logged_in"}),
    ):
        server = ServerProcess(folder, SECRET_KEY=keys).start()
        try:
            for name, state in expected.items():
                assert Visitor(server, made[name]).get("/auth/session-check").json()["state"] == state
            name = {old: "old", f"{new},{old}": "both", new: "new"}[keys]
            made[name] = Visitor(server).sign_in(f"{name}@example.org")["token"]
            assert server.stop(signal.SIGTERM) == 0
        finally:
            server.kill()


def test_a_key_is_rotated_under_load_and_nobody_is_logged_out(tmp_path: Path, documents: Path) -> None:
    old, new = "o1d-Key_" + "kX9q" * 7 + "ab12cd", "n3w-Key_" + "Zw7p" * 7 + "ef34gh"
    folder = tmp_path / "server"
    with_documents(folder, documents)
    port = str(free_port())
    server = ServerProcess(folder, SECRET_KEY=old, PORT=port, WORKERS="2").start()
    try:
        tokens = [Visitor(server).sign_in(f"visitor{number}@example.org")["token"] for number in range(4)]
        stopped, states = threading.Event(), Counter[str]()

        def check(token: str) -> None:
            visitor = Visitor(server, token)
            while not stopped.is_set():
                try:
                    answer = visitor.get("/auth/session-check")
                except OSError:
                    answer = Answer(b"")
                if answer.status:
                    states[answer.json()["state"] if answer.status == 200 else str(answer.status)] += 1
                else:
                    states["no answer"] += 1  # while it starts anew
                    time.sleep(0.02)

        def more(count: int) -> None:
            wanted = states["logged_in"] + count
            until(lambda: states["logged_in"] >= wanted, f"{count} more who are logged in")

        with ThreadPoolExecutor(len(tokens)) as pool:
            checking = [pool.submit(check, token) for token in tokens]
            for keys in (f"{new},{old}", f"{new},{old}"):
                more(20)
                assert server.stop(signal.SIGTERM) == 0
                server.settings["SECRET_KEY"] = keys
                server.start()
            more(20)
            stopped.set()
            for one in checking:
                one.result(ENOUGH_SECONDS)
        assert set(states) <= {"logged_in", "no answer"}
    finally:
        server.kill()


def test_an_operator_signs_somebody_out_of_a_server_that_runs(server: ServerProcess) -> None:
    thief, owner = Visitor(server), Visitor(server)
    thief.sign_in("stolen@example.org")
    owner.sign_in("stolen@example.org")
    done = server.command("server", "sign-out", "Stolen@Example.org")
    assert done.returncode == 0
    told = json.loads(done.stderr)
    assert (told["event"], told["level"], told["sessions"]) == ("account_signed_out", "WARNING", 2)
    for visitor in (thief, owner):
        assert visitor.get("/auth/session-check").json()["state"] == "expired"
    owner.sign_in("stolen@example.org")
    assert owner.get("/auth/session-check").json()["state"] == "logged_in"


@pytest.mark.parametrize(
    ("address", "reason"), [("nobody@example.org", "no account has that address"), ("nobody", "@")]
)
def test_an_address_that_cannot_be_signed_out_is_said(
    server: ServerProcess, address: str, reason: str
) -> None:
    done = server.command("server", "sign-out", address)
    assert done.returncode == 78
    told = json.loads(done.stderr)
    assert (told["event"], told["what"]) == ("start_failed", "end the sessions of that account")
    assert reason in told["reason"]


def test_a_new_key_is_one_that_the_server_takes(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    server = ServerProcess(folder)
    made = server.command("server", "keys", "new")
    key = made.stdout.decode().strip()
    assert (made.returncode, made.stderr) == (0, b"")
    assert key != server.command("server", "keys", "new").stdout.decode().strip()
    checked = server.command("server", "check", SECRET_KEY=key)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["SECRET_KEY"] == "(set: 1)"
