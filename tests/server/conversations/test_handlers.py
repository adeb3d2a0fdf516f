"""Conversations over HTTP: one's own, and nobody else's."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.harness import Answer, ServerProcess, running, with_documents
from tests.visitors import Visitor, anonymous_token

_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, documents: Path) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("conversations")
    with_documents(folder, documents)
    with running(folder) as started:
        yield started


@pytest.fixture
def visitor(server: ServerProcess) -> Visitor:
    return Visitor(server, anonymous_token())


@pytest.fixture
def account(server: ServerProcess) -> Visitor:
    visitor = Visitor(server)
    visitor.sign_in(f"account{next(_numbers)}@example.org")
    return visitor


def _code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["error"]


def test_a_conversation_is_listed_and_read(visitor: Visitor) -> None:
    first = visitor.ask("How do I trace a request?")
    second = visitor.ask("And in production?", conversation_id=first["conversation_id"])
    assert second["conversation_id"] == first["conversation_id"]
    listed = visitor.get("/conversations").json()
    assert [found["title"] for found in listed["conversations"]] == ["How do I trace a request?"]
    assert not listed["more"]
    read = visitor.get(f"/conversations/{first['conversation_id']}").json()
    assert [(turn["question"], turn["answer"], turn["state"]) for turn in read["turns"]] == [
        ("How do I trace a request?", first["answer"], "done"),
        ("And in production?", second["answer"], "done"),
    ]
    assert read["turns"][0]["sources"] == first["sources"]
    assert read["turns"][0]["message_id"] == first["message_id"]
    assert not any(turn["degraded"] for turn in read["turns"])


def test_a_conversation_that_is_read_has_the_reference_ids_under_which_the_log_tells_of_it(
    visitor: Visitor, server: ServerProcess
) -> None:
    answer = visitor.post("/chat", {"message": "How do I trace a request?"}, **{"X-Request-ID": "asked-1"})
    read = visitor.get(f"/conversations/{answer.json()['conversation_id']}").json()
    assert [turn["request_id"] for turn in read["turns"]] == ["asked-1"]
    assert server.wait_for("question_answered", request_id="asked-1")


def test_the_list_is_read_page_by_page(visitor: Visitor) -> None:
    made = [visitor.ask(f"How do I trace request {number}?")["conversation_id"] for number in range(5)]
    first = visitor.get("/conversations?limit=3").json()
    rest = visitor.get(f"/conversations?limit=3&behind={first['conversations'][-1]['id']}").json()
    seen = [found["id"] for page in (first, rest) for found in page["conversations"]]
    assert sorted(seen) == sorted(made)
    assert (first["more"], rest["more"]) == (True, False)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "behind=x", "limit=1&limit=2", "page=1"]
)
def test_what_is_asked_for_wrongly_is_said(visitor: Visitor, query: str) -> None:
    assert _code(visitor.get(f"/conversations?{query}")) == (400, "invalid_request")


def test_it_is_renamed_and_deleted(visitor: Visitor) -> None:
    conversation = visitor.ask()["conversation_id"]
    path = f"/api/v1/conversations/{conversation}"
    renamed = visitor.send("PATCH", path, {"title": "  Tracing\n requests "})
    assert renamed.json()["title"] == "Tracing requests"
    for title in ("", " \n", "x" * 81, 1, None):
        assert _code(visitor.send("PATCH", path, {"title": title})) == (400, "invalid_request")
    gone = visitor.send("DELETE", path)
    assert (gone.status, gone.body) == (204, b"")
    assert _code(visitor.send("DELETE", path)) == (404, "not_found")
    assert visitor.get("/conversations").json()["conversations"] == []
    visitor.server.wait_for("chat_deleted", conversation=conversation)


def test_what_is_anothers_is_not_found_whatever_is_tried(server: ServerProcess, visitor: Visitor) -> None:
    asked = visitor.ask(message_id="mine")
    path = f"/api/v1/conversations/{asked['conversation_id']}"
    for stranger in (Visitor(server, anonymous_token()), _account(server)):
        for answer in (
            stranger.send("GET", path),
            stranger.send("GET", f"{path}/export"),
            stranger.send("PATCH", path, {"title": "Mine"}),
            stranger.send("DELETE", path),
            stranger.get("/chat/mine/events"),
            stranger.post("/chat", {"message": "More?", "conversation_id": asked["conversation_id"]}),
            stranger.get(f"/conversations?behind={asked['conversation_id']}"),
        ):
            assert _code(answer) == (404, "not_found")
    save = _account(server).post("/chat/save", {"conversation_id": asked["conversation_id"]})
    assert _code(save) == (404, "not_found")
    assert visitor.send("GET", path).status == 200


def _account(server: ServerProcess) -> Visitor:
    visitor = Visitor(server)
    visitor.sign_in(f"stranger{next(_numbers)}@example.org")
    return visitor


def test_without_a_session_there_are_none(server: ServerProcess) -> None:
    nobody = Visitor(server)
    for path in ("/conversations", f"/conversations/{'0' * 32}", "/chat/m/events"):
        assert _code(nobody.get(path)) == (401, "unauthorized")


def test_to_keep_one_takes_an_account(visitor: Visitor, account: Visitor) -> None:
    mine = visitor.ask()["conversation_id"]
    assert _code(visitor.post("/chat/save", {"conversation_id": mine})) == (401, "unauthorized")
    kept = account.ask()["conversation_id"]
    saved = account.post("/chat/save", {"conversation_id": kept, "title": "Kept"}).json()
    assert (saved["id"], saved["title"], saved["saved"]) == (kept, "Kept", True)
    account.server.wait_for("chat_saved", conversation=kept, turns=1)


def test_it_is_taken_along_as_json_and_as_markdown(visitor: Visitor) -> None:
    asked = visitor.ask("How do I *trace* a request? <script>")
    path = f"/conversations/{asked['conversation_id']}/export"
    plain = visitor.get(path)
    assert plain.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(plain.body) == visitor.get(f"/conversations/{asked['conversation_id']}").json()
    written = visitor.get(f"{path}?format=markdown")
    assert written.headers["content-type"] == "text/markdown; charset=utf-8"
    assert written.headers["content-disposition"] == (
        f'attachment; filename="conversation-{asked["conversation_id"]}.md"'
    )
    text = written.body.decode()
    assert "> How do I \\*trace\\* a request? \\<script\\>" in text
    assert asked["answer"] in text
    assert asked["sources"][0]["url"] in text
    assert _code(visitor.get(f"{path}?format=pdf")) == (400, "invalid_request")


def test_pages_are_recommended_that_no_answer_has_shown(visitor: Visitor) -> None:
    assert visitor.post("/user/personalize", {}).json() == {"recommendations": []}
    asked = visitor.ask("How do I trace a request?")
    found = visitor.post("/user/personalize", {"limit": 3}).json()["recommendations"]
    assert 1 <= len(found) <= 3
    shown = {source["url"] for source in asked["sources"]}
    assert all(page["url"] not in shown for page in found)
    assert all(page["because"] == "How do I trace a request?" for page in found)
    assert _code(visitor.post("/user/personalize", {"limit": 0})) == (400, "invalid_request")


def test_the_widgets_events_are_in_the_log_as_the_browsers(server: ServerProcess) -> None:
    nobody = Visitor(server)
    event = {
        "name": "source_opened",
        "page_url": "https://www.example.com/help?token=abcdefghijklmnop",
        "properties": {"position": 2, "url": "https://x.example/?secret=abcdefghijklmnop", "first": True},
    }
    answer = nobody.post("/analytics/event", event, **{"X-Request-ID": "a-click"})
    assert (answer.status, answer.json()) == (202, {"accepted": True})
    (told,) = server.wait_for("analytics_event", request_id="a-click")
    assert (told["name"], told["source"], told["page"]) == (
        "source_opened",
        "browser",
        "https://www.example.com/help",
    )
    assert told["properties"]["position"] == 2
    assert "abcdefghijklmnop" not in json.dumps(told)


@pytest.mark.parametrize(
    "event",
    [
        {"name": "anything"},
        {"name": "widget_opened", "properties": {f"p{number}": 1 for number in range(11)}},
        {"name": "widget_opened", "properties": {"p": "x" * 201}},
        {"name": "widget_opened", "properties": {"p": {"deeper": 1}}},
        {"name": "widget_opened", "properties": {"Not a name": 1}},
        {"name": "widget_opened", "page_url": "javascript:alert(1)"},
        {"name": "widget_opened", "source": "server"},
    ],
)
def test_an_event_that_is_none_of_the_widgets_is_refused(server: ServerProcess, event: object) -> None:
    assert _code(Visitor(server).post("/analytics/event", event)) == (400, "invalid_request")
