"""The whole way into an account in a real browser: an address, a letter, its link, and the conversation that comes along."""

import email
import email.policy
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visiting import ask, part
from tests.harness import ServerProcess, running, with_documents
from tests.identity_provider import IdentityProvider
from tests.server.accounts.test_oauth import settings_for
from tests.waiting import until

EMAIL = "visitor@example.com"
SECONDS = 15


@pytest.fixture
def site(tmp_path: Path, documents: Path) -> Iterator[ServerProcess]:
    """A server with documents that puts its letters into `mail`."""
    with_documents(tmp_path, documents)
    with running(tmp_path, MAIL_DIR="var/mail") as server:
        yield server


def link_in_letter(site: ServerProcess, number: int = 1) -> str:
    """The link in the newest of so many letters."""
    folder = site.folder / "var" / "mail"
    until(lambda: len(list(folder.glob("[!.]*.eml"))) >= number, f"letter {number} has come")
    letter = email.message_from_bytes(
        max(folder.glob("[!.]*.eml"), key=lambda path: path.stat().st_mtime_ns).read_bytes(),
        policy=email.policy.default,
    )
    text = letter.get_body(("plain",))
    assert text is not None
    found = re.search(r"https?://\S+#chatkit-sign-in=\S+", text.get_content())
    assert found is not None
    return found[0]


def sign_up(page: Page) -> None:
    """Ask for a letter."""
    part(page, "account").click()
    part(page, "email").fill(EMAIL)
    part(page, "consent").check()
    part(page, "send-link").click()
    expect(part(page, "account")).to_have_attribute("data-state", "verification_pending")


def signed_in(page: Page) -> None:
    expect(part(page, "account")).to_have_attribute("data-state", "logged_in")


def test_the_link_of_a_letter_signs_in_and_the_conversation_goes_on_in_every_tab(
    page: Page, site: ServerProcess
) -> None:
    page.goto(f"{site.url}/?page=3")
    ask(page, "How do I trace a request?")
    expect(part(page, "answer")).to_have_attribute("data-state", "complete")
    sign_up(page)
    link = link_in_letter(site)
    assert link.startswith(f"{site.url}/?page=3#")

    other = page.context.new_page()
    other.goto(link)
    assert other.url == f"{site.url}/?page=3"
    part(other, "finish").click()
    signed_in(other)
    expect(part(other, "asked")).to_have_text("You asked: How do I trace a request?")
    # The tab in which it began hears of it, and goes on too.
    signed_in(page)
    for tab in (page, other):
        ask(tab, "What does the heartbeat say?")
        expect(part(tab, "answer")).to_have_count(2)
        expect(part(tab, "answer").last).to_have_attribute("data-state", "complete")
    (verified,) = site.wait_for("account_verified")
    assert verified["conversations"] == 1

    part(other, "account").click()
    part(other, "keep").click()
    expect(part(other, "keep")).to_have_text("Kept")
    part(other, "sign-out").click()
    for tab in (other, page):
        expect(part(tab, "account")).to_have_attribute("data-state", "anonymous")
        expect(part(tab, "asked")).to_have_count(0)
    site.wait_for("session_ended")


def test_a_link_that_was_used_says_so_and_another_one_works(page: Page, site: ServerProcess) -> None:
    page.goto(site.url)
    sign_up(page)
    link = link_in_letter(site)
    page.goto(link)
    part(page, "finish").click()
    signed_in(page)
    part(page, "account").click()
    part(page, "sign-out").click()
    expect(part(page, "account")).to_have_attribute("data-state", "anonymous")

    sign_up(page)
    new = link_in_letter(site, 2)
    page.goto("about:blank")
    page.goto(link)
    part(page, "finish").click()
    expect(part(page, "error-card")).to_contain_text("This link can no longer be used.")
    expect(part(page, "error-card")).to_contain_text("Reference ID")
    page.goto("about:blank")
    page.goto(new)
    part(page, "finish").click()
    signed_in(page)


def test_a_session_that_was_ended_elsewhere_is_told_with_the_question(
    page: Page, site: ServerProcess
) -> None:
    page.goto(site.url)
    sign_up(page)
    page.goto(link_in_letter(site))
    part(page, "finish").click()
    signed_in(page)
    ended = page.evaluate(
        """async () => { const kept = Object.values(localStorage).map((text) => JSON.parse(text));
        const {token} = kept.find(({kind}) => kind === 'account');
        const headers = {Authorization: `Bearer ${token}`};
        return (await fetch('/api/v1/auth/logout', {method: 'POST', headers})).status; }"""
    )
    assert ended == 200
    ask(page, "How do I trace a request?")
    card = part(page, "error-card")
    expect(card).to_contain_text("You are no longer signed in.")
    expect(part(page, "account")).to_have_attribute("data-state", "expired")
    part(page, "retry").click()
    expect(part(page, "answer")).to_have_attribute("data-state", "complete")
    part(page, "account").click()
    expect(part(page, "email")).to_have_value(EMAIL)


def test_who_comes_back_from_a_provider_is_signed_in_and_the_conversation_goes_on(
    page: Page, tmp_path: Path, documents: Path, identity_provider: IdentityProvider
) -> None:
    with_documents(tmp_path, documents)
    with running(tmp_path, **settings_for(identity_provider)) as site:
        page.goto(f"{site.url}/?page=3#top")
        ask(page, "How do I trace a request?")
        expect(part(page, "answer")).to_have_attribute("data-state", "complete")
        part(page, "account").click()
        expect(part(page, "provider-github")).to_have_text("Continue with GitHub")
        part(page, "provider-oidc").click()
        signed_in(page)
        assert page.url == f"{site.url}/?page=3", "it says nothing of where the browser was"
        expect(part(page, "asked")).to_have_text("You asked: How do I trace a request?")
        ask(page, "What does the heartbeat say?")
        expect(part(page, "answer")).to_have_count(2)
        expect(part(page, "answer").last).to_have_attribute("data-state", "complete")
        (event,) = site.wait_for("account_signed_in")
        assert (event["provider"], event["created"], event["conversations"]) == ("oidc", True, 1)
        part(page, "account").click()
        expect(part(page, "provider-github")).to_have_text("Add GitHub")
        part(page, "provider-github").click()
        site.wait_for("account_signed_in", 2)
        signed_in(page)
        assert site.events("account_signed_in")[1]["account"] == event["account"]


def test_who_says_no_at_the_provider_is_told_and_can_still_have_a_letter(
    page: Page, tmp_path: Path, documents: Path, identity_provider: IdentityProvider
) -> None:
    with_documents(tmp_path, documents)
    identity_provider.answer_with = {"error": "access_denied"}
    with running(tmp_path, **settings_for(identity_provider)) as site:
        page.goto(site.url)
        part(page, "account").click()
        part(page, "provider-oidc").click()
        expect(part(page, "error-card")).to_contain_text("You did not agree there.")
        assert "#" not in page.url
        expect(part(page, "email")).to_be_visible()
