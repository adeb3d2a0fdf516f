"""A visitor comes back: after a reload, over another connection, and by the link of a letter."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from tests.browser.lossy import Lossy, lossy
from tests.browser.visiting import ask, part
from tests.harness import ServerProcess
from tests.waiting import until

QUESTION = "What does the heartbeat say?"
EMAIL = "visitor@example.com"


@pytest.fixture
def way(asked: ServerProcess) -> Iterator[Lossy]:
    with lossy(asked.address) as way:
        yield way


def answered(page: Page) -> str:
    """The text of the last answer, once it is whole."""
    answer = part(page, "answer").last
    expect(answer).to_have_attribute("data-state", "complete")
    return answer.inner_text()


@pytest.fixture(scope="module")
def whole(asked: ServerProcess, browser: Browser) -> str:
    """The answer to the question when nothing gets in its way."""
    page = browser.new_page()
    page.goto(asked.url)
    ask(page, QUESTION)
    text = answered(page)
    page.close()
    return text


@pytest.mark.parametrize("before", ["token", "done"])
def test_an_answer_whose_connection_breaks_is_shown_whole_and_once(
    page: Page, way: Lossy, whole: str, before: Literal["token", "done"]
) -> None:
    page.goto(way.url)
    way.lose("cut", before=before)
    ask(page, QUESTION)
    assert answered(page) == whole
    assert way.lost == 1
    assert way.asked == 1
    expect(part(page, "error-card")).to_have_count(0)


@pytest.mark.parametrize(("before", "state"), [("token", "waiting"), ("done", "writing")])
def test_a_reload_in_the_middle_of_an_answer_shows_it_whole_and_once(
    page: Page, way: Lossy, whole: str, before: Literal["token", "done"], state: str
) -> None:
    page.goto(way.url)
    way.lose("hold", before=before)
    ask(page, QUESTION)
    expect(part(page, "answer")).to_have_attribute("data-state", state)
    until(lambda: way.lost == 1)
    page.reload()
    assert answered(page) == whole
    expect(part(page, "asked")).to_have_count(1)
    assert way.asked == 1


def test_after_a_reload_the_conversation_is_there_and_goes_on(page: Page, asked: ServerProcess) -> None:
    page.goto(asked.url)
    ask(page, QUESTION)
    first = answered(page)
    page.reload()
    expect(part(page, "asked")).to_have_text(f"You asked: {QUESTION}")
    assert answered(page) == first
    expect(part(page, "source").first).to_be_visible()
    ask(page, "How do I trace a request?")
    expect(part(page, "asked")).to_have_count(2)
    answered(page)
    page.reload()
    expect(part(page, "asked")).to_have_count(2)


def test_a_new_conversation_leaves_nothing_to_come_back_to(page: Page, asked: ServerProcess) -> None:
    page.goto(asked.url)
    ask(page, QUESTION)
    answered(page)
    page.get_by_role("button", name="New conversation").click()
    expect(part(page, "asked")).to_have_count(0)
    expect(part(page, "suggestion").first).to_be_visible()
    page.reload()
    expect(part(page, "suggestion").first).to_be_visible()
    expect(part(page, "asked")).to_have_count(0)


class Accounts:
    """Stands in for the server's part in accounts, where a letter would have to be read; the rest is the server's own."""

    def __init__(self, context: BrowserContext) -> None:
        self.spent: list[str] = []
        self.refreshing: list[Route] = []
        context.route("**/api/v1/auth/**", self._answer)

    def answer_refreshes(self) -> None:
        """Answer all that have come so far; until then they wait."""
        for number, route in enumerate(self.refreshing):
            route.fulfill(json=_session(f"r{number}", expires_in=86_400))

    def _answer(self, route: Route, request: Request) -> None:
        match request.url.rpartition("/")[2].partition("?")[0]:
            case "signup":
                pending = {"state": "verification_pending", "verification_id": "0" * 32, "expires_in": 600}
                route.fulfill(status=202, json=pending)
            case "verify":
                self.spent.append(json.loads(request.post_data or "{}")["token"])
                route.fulfill(json=_session("1", expires_in=60))
            case "refresh-token":
                self.refreshing.append(route)
            case "session-check":
                route.fulfill(json={"state": "logged_in"})
            case "logout":
                route.fulfill(json={"state": "anonymous"})
            case _:
                route.fulfill(json={"state": "pending"})


def _session(name: str, *, expires_in: int) -> dict[str, Any]:
    token = f"cks_{name:_<43}"
    return {"state": "logged_in", "token": token, "tier": 1, "email": EMAIL, "expires_in": expires_in}


LINK = "#chatkit-sign-in=ckv_" + "t" * 43


def test_the_sign_in_can_be_used_by_the_keyboard_and_is_named_for_screen_readers(
    page: Page, asked: ServerProcess
) -> None:
    Accounts(page.context)
    page.goto(asked.url)
    opener = page.get_by_role("button", name="Sign in", exact=True)
    expect(opener).to_have_attribute("aria-expanded", "false")
    opener.press("Enter")
    expect(page.get_by_role("region", name="Sign in by e-mail")).to_be_visible()
    address = page.get_by_role("textbox", name="E-mail address")
    expect(address).to_be_focused()
    page.keyboard.press("Enter")
    expect(address).to_have_accessible_description("Please give your e-mail address.")
    page.keyboard.type(EMAIL)
    page.keyboard.press("Tab")
    consent = page.get_by_role("checkbox", name=re.compile("Keep my address"))
    expect(consent).to_be_focused()
    page.keyboard.press("Space")
    expect(consent).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Check your mail")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text=f"A link was sent to {EMAIL}")).to_have_count(1)
    page.keyboard.press("Escape")
    opener = page.get_by_role("button", name="Check your mail")
    expect(opener).to_be_focused()
    expect(opener).to_have_attribute("aria-expanded", "false")


@pytest.mark.parametrize(("width", "height"), [(320, 400), (360, 640), (1200, 900)])
def test_the_place_to_write_and_the_sign_in_can_both_be_reached_on_any_screen(
    page: Page, asked: ServerProcess, width: int, height: int
) -> None:
    Accounts(page.context)
    page.set_viewport_size({"width": width, "height": height})
    page.goto(asked.url)
    part(page, "account").click()
    part(page, "send-link").click()
    part(page, "send-link").scroll_into_view_if_needed()
    panel = page.locator("chatkit-widget").bounding_box()
    assert panel is not None
    for name in ("send-link", "question", "send"):
        box = part(page, name).bounding_box()
        assert box is not None
        assert panel["x"] <= box["x"]
        assert box["x"] + box["width"] <= panel["x"] + panel["width"]
        assert panel["y"] <= box["y"]
        assert box["y"] + box["height"] <= panel["y"] + panel["height"]


def test_a_link_is_taken_out_of_the_address_and_spent_by_a_button_alone(
    page: Page, asked: ServerProcess
) -> None:
    accounts = Accounts(page.context)
    page.goto(f"{asked.url}/?page=3{LINK}")
    finish = page.get_by_role("button", name="Sign in", exact=True).last
    expect(part(page, "sign-in-title")).to_have_text("Finish signing in")
    assert page.url == f"{asked.url}/?page=3"
    expect(finish).to_be_focused()
    assert accounts.spent == []
    finish.press("Enter")
    expect(page.get_by_role("button", name=f"Account: signed in as {EMAIL}")).to_be_focused()
    assert accounts.spent == [LINK.partition("=")[2]]
    page.reload()
    expect(page.get_by_role("button", name=f"Account: signed in as {EMAIL}")).to_be_visible()


def test_of_many_tabs_one_refreshes_the_session(page: Page, asked: ServerProcess) -> None:
    accounts = Accounts(page.context)
    page.goto(f"{asked.url}/{LINK}")
    part(page, "finish").click()
    expect(part(page, "account")).to_have_attribute("data-state", "logged_in")
    tabs = [page, *(page.context.new_page() for _ in range(3))]
    for tab in tabs[1:]:
        tab.goto(asked.url)
        expect(part(tab, "account")).to_have_attribute("data-state", "logged_in")
    # The token is none of this server's: that it was refused comes after it was refreshed.
    for tab in tabs:
        part(tab, "question").fill(QUESTION)
    for tab in tabs:
        tab.evaluate(
            "document.querySelector('chatkit-widget').shadowRoot.querySelector('[data-test=send]').click()"
        )
    # Time enough for each to ask, if it would.
    page.wait_for_timeout(500)
    assert len(accounts.refreshing) == 1
    accounts.answer_refreshes()
    for tab in tabs:
        expect(part(tab, "error-card").or_(part(tab, "reference-id")).first).to_be_visible()
    assert len(accounts.refreshing) == 1
