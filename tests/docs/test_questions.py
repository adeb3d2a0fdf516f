"""What the demo page suggests to ask, the documents answer: under a heading with those words."""

import json
import re
import urllib.request

import pytest

from tests.docs.reading import ROOT
from tests.harness import ServerProcess, chat_body

SUGGESTED = re.findall(
    r'suggestions="([^"]+)"', (ROOT / "server" / "static" / "page" / "index.html").read_text()
)
QUESTIONS = [question for listed in SUGGESTED for question in listed.split("|")]


def test_the_demo_page_suggests_something() -> None:
    assert "How do I trace a request?" in QUESTIONS


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_best_source_of_a_suggested_question_is_the_section_that_answers_it(
    asked: ServerProcess, question: str
) -> None:
    request = urllib.request.Request(
        f"{asked.url}/api/v1/chat", chat_body(question), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        answer = json.loads(response.read())
    assert answer["sources"][0]["title"].endswith(question)
    assert answer["sources"][0]["url"].startswith("docs/OBSERVABILITY_GUIDE.md#")
