"""Signing in with a provider over HTTP: a page, a browser, a server and an identity provider, each a real one."""

import html
import json
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from server.models import PageUrl
from tests.harness import Answer, ServerProcess, exchange, request_bytes, running
from tests.identity_provider import IdentityProvider, rsa, signed
from tests.server.accounts.test_upstream import answering

PAGE = "http://localhost:9000/help?topic=keys"


def settings_for(provider: IdentityProvider) -> dict[str, str]:
    known = {"CLIENT_ID": provider.client_id, "CLIENT_SECRET": provider.client_secret}
    oidc = {"ISSUER": provider.url, "NAME": "Staff", **known}
    github = {"URL": provider.url, **known}
    return {f"OAUTH_OIDC_{key}": value for key, value in oidc.items()} | {
        f"OAUTH_GITHUB_{key}": value for key, value in github.items()
    }


@pytest.fixture(scope="module")
def signing(
    tmp_path_factory: pytest.TempPathFactory, _one_identity_provider: IdentityProvider
) -> Iterator[ServerProcess]:
    """A server that knows the local provider as two."""
    folder = tmp_path_factory.mktemp("signing")
    with running(folder, **settings_for(_one_identity_provider)) as server:
        yield server


@pytest.fixture
def server(signing: ServerProcess, identity_provider: IdentityProvider) -> ServerProcess:
    del identity_provider  # It is new to every test.
    return signing


def ask(
    server: ServerProcess, method: str, path: str, body: Any = None, token: str = "", request_id: str = ""
) -> Answer:
    headers: dict[str, str | bytes] = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if request_id:
        headers["X-Request-ID"] = request_id
    raw = b"" if body is None else json.dumps(body).encode()
    return exchange(server.address, request_bytes(method, path, headers, raw))


def start(server: ServerProcess, provider: str = "oidc", **more: Any) -> dict[str, Any]:
    body = {"consent": True, "page_url": PAGE} | more
    answer = ask(server, "POST", f"/api/v1/auth/oauth/{provider}/start", body)
    assert answer.status == 200, answer.body
    begun: dict[str, Any] = answer.json()
    assert begun["flow"] not in begun["authorization_url"]
    return begun


def follow(url: str) -> str:
    """Where a browser is sent from there."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    answer = exchange(
        (parts.hostname, parts.port),
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode(),
    )
    assert answer.status in {302, 303}, answer.raw
    return answer.headers["location"]


def come_back(begun: dict[str, Any]) -> str:
    """Through the provider and the callback, to the token in the fragment of the page."""
    page = follow(follow(begun["authorization_url"]))
    assert page.startswith(f"{PAGE}#chatkit-oauth=cko_")
    return page.partition("#chatkit-oauth=")[2]


def finish(server: ServerProcess, token: str, flow: str, **more: str) -> Answer:
    return ask(server, "POST", "/api/v1/auth/oauth/finish", {"token": token, "flow": flow}, **more)


@pytest.mark.parametrize("provider", ["oidc", "github"])
def test_somebody_signs_in_and_stays_signed_in(
    server: ServerProcess, identity_provider: IdentityProvider, provider: str
) -> None:
    email = f"{provider}@example.com"
    identity_provider.person |= {"sub": "new", "email": email}
    identity_provider.emails = [{"email": email, "primary": True, "verified": True}]
    begun = start(server, provider)
    answer = finish(server, come_back(begun), begun["flow"], request_id=f"finish-{provider}")
    assert answer.status == 200
    session = answer.json()
    assert (session["state"], session["tier"], session["email"]) == ("logged_in", 2, email)
    check = ask(server, "GET", "/api/v1/auth/session-check", token=session["token"]).json()
    assert (check["state"], check["tier"]) == ("logged_in", 2)
    (event,) = server.wait_for("account_signed_in", request_id=f"finish-{provider}")
    assert event["provider"] == provider
    (request,) = server.wait_for("http_request", request_id=f"finish-{provider}")
    assert request["oauth_ms"] > 0
    refreshed = ask(server, "POST", "/api/v1/auth/refresh-token", token=session["token"])
    assert refreshed.json()["tier"] == 2


def test_the_page_is_told_which_providers_there_are(server: ServerProcess) -> None:
    answer = ask(server, "GET", "/api/v1/auth/providers")
    assert answer.json() == {
        "providers": [{"id": "github", "name": "GitHub"}, {"id": "oidc", "name": "Staff"}]
    }


def test_without_any_provider_there_is_none(asked: ServerProcess) -> None:
    assert ask(asked, "GET", "/api/v1/auth/providers").json() == {"providers": []}
    answer = ask(asked, "POST", "/api/v1/auth/oauth/google/start", {"consent": True})
    assert (answer.status, answer.json()["error"]) == (404, "not_found")


def test_twenty_who_finish_one_sign_in_at_once_get_one_session(server: ServerProcess) -> None:
    begun = start(server)
    token = come_back(begun)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: finish(server, token, begun["flow"]), range(20)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 19
    assert {answer.json()["error"] for answer in answers if answer.status == 400} == {"invalid_token"}


def test_a_link_that_somebody_else_made_signs_nobody_in(server: ServerProcess) -> None:
    attackers, own = start(server), start(server)
    answer = finish(server, come_back(attackers), own["flow"])
    assert (answer.status, answer.json()["error"]) == (400, "invalid_token")


def test_the_browser_comes_back_by_a_redirect_that_says_nothing_to_others(server: ServerProcess) -> None:
    back = follow(start(server)["authorization_url"])
    path = back.removeprefix(server.url)
    answer = ask(server, "GET", path)
    assert answer.status == 303
    assert answer.body == b""
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "set-cookie" not in answer.headers
    again = ask(server, "GET", path)
    assert again.headers["location"] == f"{PAGE}#chatkit-sign-in-error=used"


def test_who_says_no_at_the_provider_is_back_on_the_page_and_told_so(server: ServerProcess) -> None:
    state = URL(start(server)["authorization_url"]).query["state"]
    answer = ask(server, "GET", f"/api/v1/auth/oauth/oidc/callback?error=access_denied&state={state}")
    assert answer.headers["location"] == f"{PAGE}#chatkit-sign-in-error=denied"


@pytest.mark.parametrize(
    "query",
    [
        "", "?", "?state=", "?state=ckt_unknown&code=x", "?code=x", "?state=a&state=b&code=x", "?state=%ff%fe&code=%00", f"?state={'x' * 500}", "?state=x&code=" + "y" * 5_000,
        "?state=<script>alert(1)</script>", "?state=x&error=%3Cscript%3E&error_description=%3Cscript%3E", "?state=x&redirect=https://evil.example/", "?state=%0d%0aLocation:%20https://evil.example",
    ],
)  # fmt: skip
def test_what_leads_nowhere_ends_on_a_page_for_people(server: ServerProcess, query: str) -> None:
    for provider in ("oidc", "github", "nobody"):
        answer = ask(server, "GET", f"/api/v1/auth/oauth/{provider}/callback{query}", request_id="where-1")
        assert answer.status in {400, 404}
        assert answer.headers["content-type"].startswith("text/html")
        assert "location" not in answer.headers
        assert b"where-1" in answer.body
        assert b"<script" not in answer.body
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("page", ["https://evil.example/", "javascript:alert(1)", "//evil.example", "http://localhost:9000@evil.example/"])  # fmt: skip
def test_no_browser_is_sent_to_a_site_that_may_not_embed_the_widget(server: ServerProcess, page: str) -> None:
    body = {"consent": True, "page_url": page}
    answer = ask(server, "POST", "/api/v1/auth/oauth/oidc/start", body)
    assert answer.status == 400
    assert answer.json()["details"][0]["field"] == "page_url"


def test_there_is_no_sign_in_without_consent(server: ServerProcess) -> None:
    for body in ({}, {"consent": False}):
        answer = ask(server, "POST", "/api/v1/auth/oauth/oidc/start", body)
        assert (answer.status, answer.json()["error"]) == (400, "consent_required")


def test_adding_a_provider_takes_an_account(server: ServerProcess) -> None:
    answer = ask(server, "POST", "/api/v1/auth/oauth/oidc/start", {"consent": True, "link": True})
    assert (answer.status, answer.json()["error"]) == (401, "unauthorized")


def test_who_is_signed_in_adds_a_second_provider(
    server: ServerProcess, identity_provider: IdentityProvider
) -> None:
    identity_provider.person |= {"sub": "linking", "email": "linking@example.com"}
    identity_provider.user = {"id": 77}
    identity_provider.emails = []
    begun = start(server)
    session = finish(server, come_back(begun), begun["flow"]).json()
    body = {"consent": True, "page_url": PAGE, "link": True}
    added = ask(server, "POST", "/api/v1/auth/oauth/github/start", body, token=session["token"]).json()
    token = come_back(added)
    body = {"token": token, "flow": added["flow"]}
    linked = ask(server, "POST", "/api/v1/auth/oauth/finish", body, token=session["token"])
    assert (linked.status, linked.json()["email"]) == (200, "linking@example.com")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({}, "id_token_signature"),
        ({"/token": 500}, "provider_unavailable"),
        ({"/token": 302}, "provider_unavailable"),
    ],
)
def test_a_provider_that_misbehaves_is_told_in_the_envelope_and_in_the_log(
    server: ServerProcess, identity_provider: IdentityProvider, broken: dict[str, int], reason: str
) -> None:
    forger = rsa("first")
    identity_provider.forge = lambda claims, _: signed(claims, forger)
    identity_provider.broken = {path: answering(status, Location="/") for path, status in broken.items()}
    begun = start(server)
    request_id = f"misbehaves-{reason}-{len(server.events('oauth_failed'))}"
    answer = finish(server, come_back(begun), begun["flow"], request_id=request_id)
    expected = (503, "service_unavailable") if broken else (400, "invalid_token")
    assert (answer.status, answer.json()["error"]) == expected
    assert ("retry-after" in answer.headers) is bool(broken)
    (event,) = server.wait_for("oauth_failed", request_id=request_id)
    assert event["reason"] == reason
    assert len(server.events("dependency_call", request_id=request_id)) == len(broken)
    assert ask(server, "GET", "/health").status == 200
    assert ask(server, "GET", "/health/ready").status == 200


def test_a_provider_that_is_away_is_told_and_leaves_the_server_well(tmp_path: Path) -> None:
    away = {"ISSUER": "http://127.0.0.1:1", "CLIENT_ID": "id", "CLIENT_SECRET": "hunter2pw"}
    with running(tmp_path, **{f"OAUTH_OIDC_{key}": value for key, value in away.items()}) as server:
        answer = ask(server, "POST", "/api/v1/auth/oauth/oidc/start", {"consent": True}, request_id="away-1")
        assert (answer.status, answer.json()["error"]) == (503, "service_unavailable")
        assert answer.headers["retry-after"]
        (event,) = server.wait_for("dependency_call", request_id="away-1")
        assert (event["dependency"], event["status"]) == ("oauth:oidc", "ClientConnectorError")
        assert ask(server, "GET", "/health").status == 200


def test_nothing_secret_stands_in_the_log(server: ServerProcess, identity_provider: IdentityProvider) -> None:
    identity_provider.person |= {"sub": "secretive", "email": "secretive@example.com"}
    begun = start(server)
    page = follow(follow(begun["authorization_url"]))
    token = page.partition("#chatkit-oauth=")[2]
    session = finish(server, token, begun["flow"], request_id="secretive-1").json()
    finish(server, token, begun["flow"], request_id="secretive-2")
    server.wait_for("http_request", request_id="secretive-2")
    (code,) = list(identity_provider.given)[-1:]
    state = URL(begun["authorization_url"]).query["state"]
    log = "".join(path.read_text() for path in server.log_dir.glob("*.jsonl"))
    for secret in (
        token,
        begun["flow"],
        state,
        code,
        session["token"],
        identity_provider.client_secret,
        "secretive@example.com",
    ):
        assert secret not in log


def test_whichever_worker_is_asked_knows_of_it(tmp_path: Path, identity_provider: IdentityProvider) -> None:
    with running(tmp_path, WORKERS="2", **settings_for(identity_provider)) as server:
        boots: set[str] = set()
        number = 0
        while len(boots) < 2 or number < 8:  # Which worker takes a connection is the kernel's to say.
            number += 1
            assert number < 100
            identity_provider.person |= {"sub": str(number), "email": f"{number}@example.com"}
            begun = start(server)
            answer = finish(server, come_back(begun), begun["flow"])
            assert (answer.status, answer.json()["email"]) == (200, f"{number}@example.com")
            boots = {event["boot"] for event in server.events("account_signed_in")}


def test_a_database_that_cannot_be_written_is_told_on_a_page_too(
    tmp_path: Path, identity_provider: IdentityProvider
) -> None:
    with running(tmp_path, **settings_for(identity_provider)) as server:
        back = follow(start(server)["authorization_url"])
        with closing(sqlite3.connect(tmp_path / "var" / "chatkit.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            answer = ask(server, "GET", back.removeprefix(server.url))
        assert answer.status == 503
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["retry-after"]
        # It was not spent by that.
        assert "#chatkit-oauth=" in ask(server, "GET", back.removeprefix(server.url)).headers["location"]


@given(st.text(max_size=60))
def test_whatever_page_may_be_asked_for_can_be_sent_to(tail: str) -> None:
    try:
        page = TypeAdapter(PageUrl).validate_python(f"https://www.example.com/{tail}")
    except ValidationError:
        return
    if urlsplit(page).netloc != "www.example.com":
        return
    sent = str(URL(f"{page.partition('#')[0]}#chatkit-oauth=cko_x"))
    assert urlsplit(sent).netloc == "www.example.com"
    assert sent.isascii()
    assert not re.search(r"[\r\n\s]", sent)


def test_the_reference_cannot_break_the_page(server: ServerProcess) -> None:
    odd = quote("<b>", safe="")
    answer = ask(server, "GET", "/api/v1/auth/oauth/oidc/callback", request_id=odd)
    assert odd not in answer.headers["x-request-id"]
    assert html.escape(answer.headers["x-request-id"]).encode() in answer.body
