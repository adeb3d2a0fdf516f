"""What the demo page suggests to ask, the documents answer: under a heading with those words. And so with most headings."""

import json
import re
import urllib.request
from collections import Counter
from typing import Any

import pytest

from server.chat.passages import SEPARATOR
from tests.docs.reading import ROOT
from tests.harness import ServerProcess, chat_body

SUGGESTED = re.findall(
    r'suggestions="([^"]+)"', (ROOT / "server" / "static" / "page" / "index.html").read_text()
)
QUESTIONS = [question for listed in SUGGESTED for question in listed.split("|")]


HEADINGS = Counter(
    re.sub("[`*]", "", heading)
    for file in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    for heading in re.findall(r"^#{1,4} (.+)$", file.read_text(), re.MULTILINE)
)


def test_the_demo_page_suggests_something() -> None:
    assert "How do I trace a request?" in QUESTIONS


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_best_source_of_a_suggested_question_is_the_section_that_answers_it(
    asked: ServerProcess, question: str
) -> None:
    best = sources(asked, question)[0]
    assert best["title"].endswith(question)
    assert best["url"].startswith("docs/OBSERVABILITY_GUIDE.md#")


def test_questions_in_the_words_of_a_heading_are_answered_from_there(asked: ServerProcess) -> None:
    """Nearly all, and most from there first; others are as well answered elsewhere, such as a route, whose heading is no sentence."""
    once = [heading for heading, times in HEADINGS.items() if times == 1]
    told = {
        heading: [title.rpartition(SEPARATOR)[2] for title in titles(asked, f"How do I {heading}?")]
        for heading in once
    }
    first = sum(cited[:1] == [heading] for heading, cited in told.items())
    among = sum(heading in cited for heading, cited in told.items())
    print(f"{first} first and {among} at all, of {len(told)}")
    assert len(told) > 200
    assert first > 0.75 * len(told)
    assert among > 0.8 * len(told)
    assert told["Add a setting"][0] == "Add a setting"
    assert titles(asked, "Which settings are there?")[0] == "Settings", "and not how to add one"


def titles(asked: ServerProcess, question: str) -> list[str]:
    """The headings of the sources of the answer, the best first."""
    return [source["title"] for source in sources(asked, question)]


def sources(asked: ServerProcess, question: str) -> list[dict[str, Any]]:
    """The sources of the answer, the best first."""
    request = urllib.request.Request(
        f"{asked.url}/api/v1/chat", chat_body(question), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        found: list[dict[str, Any]] = json.loads(response.read())["sources"]
    return found
