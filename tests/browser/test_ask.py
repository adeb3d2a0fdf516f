"""The whole path in a real browser: a visitor asks, is answered with a source, and the ID on the page finds it in the log."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visiting import ask
from tests.harness import ServerProcess, running
from tests.sites import Site, serving


class Blank(Site):
    """A site of somebody else's that embeds nothing yet."""

    def do_GET(self) -> None:  # noqa: N802 - the name by which it is called
        self.answer(200, "text/html", b"<!doctype html><title>elsewhere</title>")


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of a page on another origin."""
    with serving(Blank) as address:
        yield address


def test_a_question_is_answered_with_a_source_and_its_id_finds_it_in_the_log(
    page: Page, asked: ServerProcess
) -> None:
    page.goto(asked.url)
    ask(page, "How do I trace a request?")
    answer = page.locator("[data-test=answer]").last
    expect(answer).to_have_attribute("data-state", "complete")
    expect(answer).to_contain_text("python -m pipeline trace")
    expect(page.locator("[data-test=source]").first).to_be_visible()
    request_id = page.locator("[data-test=reference-id]").last.inner_text()
    assert re.fullmatch(r"[0-9a-f-]{36}", request_id)

    asked.wait_for("http_request", request_id=request_id)
    traced = asked.command("pipeline", "trace", request_id)
    assert traced.returncode == 0
    events = {event["event"]: event for event in map(json.loads, traced.stdout.splitlines())}
    assert events["http_request"]["route"] == "/api/v1/chat/stream"
    assert events["http_request"]["outcome"] == "ok"
    assert events["http_request"]["ua_family"] == "HeadlessChrome"
    assert events["http_request"]["retrieval_ms"] > 0
    assert events["http_request"]["db_calls"] > 0
    assert events["question_answered"]["answered"] is True


def test_the_tokens_come_one_after_the_other(page: Page, asked: ServerProcess) -> None:
    page.goto(asked.url)
    page.evaluate(
        """() => { window.lengths = []; const widget = document.querySelector('chatkit-widget');
        new MutationObserver(() => { const answer = widget.shadowRoot.querySelector('[data-test=answer]');
          if (answer) window.lengths.push(answer.textContent.length); })
        .observe(widget.shadowRoot, {subtree: true, childList: true, characterData: true}); }"""
    )
    ask(page, "What does the heartbeat say?")
    expect(page.locator("[data-test=answer]").last).to_have_attribute("data-state", "complete")
    lengths = page.evaluate("window.lengths")
    assert len(set(lengths)) > 3


def test_a_failure_shows_a_card_with_the_id_that_is_in_the_log(page: Page, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        page.goto(server.url)
        server.damage_database()
        ask(page, "Is anybody there?")
        card = page.locator("[data-test=error-card]")
        expect(card).to_be_visible()
        expect(card).to_contain_text("Reference ID")
        request_id = card.locator("[data-test=reference-id]").inner_text()
        (event,) = server.wait_for("http_request", request_id=request_id, route="/api/v1/chat/stream")
        # That it was shown is in the log under the same ID.
        (shown,) = server.wait_for("analytics_event", request_id=request_id)
        assert shown["name"] == "error_shown"
        assert event["status"] in {500, 503}
        assert "sqlite" not in card.inner_text().lower()


def test_a_server_that_is_gone_shows_the_id_that_was_sent(page: Page, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        page.goto(server.url)
        server.kill()
        ask(page, "Is anybody there?")
        card = page.locator("[data-test=error-card]")
        expect(card).to_be_visible()
        assert re.fullmatch(r"[0-9a-f-]{36}", card.locator("[data-test=reference-id]").inner_text())


def test_a_page_on_another_origin_can_ask_and_read_the_id(
    page: Page, asked: ServerProcess, elsewhere: str
) -> None:
    page.goto(elsewhere)
    told = page.evaluate(
        """async (url) => { const answer = await fetch(url + '/api/v1/chat', {method: 'POST',
        headers: {'Content-Type': 'application/json', 'X-Request-ID': 'cross-origin-1'},
        body: JSON.stringify({message: 'How do I trace a request?'})});
        return [answer.status, answer.headers.get('X-Request-ID')]; }""",
        asked.url,
    )
    assert told == [200, "cross-origin-1"]


def test_script_in_a_document_or_a_question_does_not_run(page: Page, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script> [x](javascript:document.title='owned')"
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "evil.md").write_text(
        f"# Wombats {hostile}\n\nWombats dig burrows. {hostile}\n"
    )
    server = ServerProcess(tmp_path)
    assert server.command("server", "ingest", "documents").returncode == 0
    with running(tmp_path) as server:
        page.goto(server.url)
        title = page.title()
        ask(page, "What do wombats dig?")
        expect(page.locator("[data-test=answer]").last).to_have_attribute("data-state", "complete")
        expect(page.locator("[data-test=answer]").last).to_contain_text("burrows")
        ask(page, f"What do wombats dig? {hostile}")
        expect(page.locator("[data-test=answer]")).to_have_count(2)
        expect(page.locator("[data-test=answer]").last).to_have_attribute("data-state", "complete")
        assert page.title() == title
        assert page.locator("chatkit-widget img").count() == 0
        assert page.locator("chatkit-widget a[href^=javascript]").count() == 0
