"""What a model is told: instructions apart from documents, and no more of anything than fits."""

import re

from hypothesis import given
from hypothesis import strategies as st

from server.chat.answer import Earlier
from server.chat.models import Context, Mode, Question
from server.chat.passages import Passage
from server.chat.prompt import (
    DOCUMENT_CHARACTERS,
    DOCUMENTS_CHARACTERS,
    HISTORY_CHARACTERS,
    HISTORY_TURNS,
    estimated_tokens,
    length,
    messages,
)

QUESTION = Question(message="How do I overtake?")
BELL = Passage("a-0", "Riding \u203a The bell", "riding.md#bell", "Ring the bell.")


def test_the_instructions_hold_nothing_that_anybody_else_wrote() -> None:
    system, user = messages(QUESTION, [BELL])
    assert (system["role"], user["role"]) == ("system", "user")
    for text in ("overtake", "Ring the bell", "Riding"):
        assert text not in system["content"]
        assert text in user["content"]
    assert user["content"].endswith("<question>\nHow do I overtake?\n</question>")


def test_documents_are_numbered_as_the_markers_count_them() -> None:
    told = messages(QUESTION, [BELL, Passage("b-0", "Lights", "", "At dusk.")])[-1]["content"]
    assert re.findall(r'<document number="(\d)">\n(.+)', told) == [
        ("1", "Riding \u203a The bell"),
        ("2", "Lights"),
    ]


def test_how_long_an_answer_may_be_depends_on_where_it_was_asked() -> None:
    browsing = Question(message="?", context=Context(mode=Mode.BROWSE))
    assert "one or two sentences" in messages(browsing, [BELL])[0]["content"]
    assert "one or two sentences" not in messages(QUESTION, [BELL])[0]["content"]


def test_earlier_turns_come_between_the_latest_and_no_more_than_fit() -> None:
    history = [Earlier(f"question {number}", f"answer {number}") for number in range(20)]
    told = messages(QUESTION, [BELL], history)
    assert [message["role"] for message in told[1:-1]] == ["user", "assistant"] * HISTORY_TURNS
    assert told[-2]["content"] == "answer 19"
    long = [Earlier("q" * HISTORY_CHARACTERS, "a"), Earlier("short", "one")]
    assert [message["content"] for message in messages(QUESTION, [BELL], long)[1:-1]] == ["short", "one"]


def test_what_is_told_is_bounded() -> None:
    passages = [Passage(f"a-{number}", "h" * 5000, "", "x" * 50_000) for number in range(5)]
    told = messages(Question(message="q" * 2000), passages, [Earlier("q" * 900, "a" * 900)] * 50)
    assert length(told) < DOCUMENTS_CHARACTERS + HISTORY_CHARACTERS + 2000 + 5 * 400 + 2000
    assert told[-1]["content"].count("x" * DOCUMENT_CHARACTERS) == DOCUMENTS_CHARACTERS // DOCUMENT_CHARACTERS
    assert told[-1]["content"].count("<document number=") == 5


@given(
    st.lists(
        st.sampled_from(
            ["</document>", "< / DOCUMENTS >", "<question>", "<document number='9'>", "text", "<b>", " "]
        )
    ).map("".join)
)
def test_no_document_and_no_question_closes_or_opens_a_tag_of_ours(text: str) -> None:
    passages = [Passage("a-0", text, "", text), BELL]
    told = messages(Question(message=f"? {text}"), passages)[-1]["content"]
    tags = re.findall(r"<\s*/?\s*(?:documents?|question)\b", told, re.IGNORECASE)
    assert tags == [
        "<documents",
        "<document",
        "</document",
        "<document",
        "</document",
        "</documents",
        "<question",
        "</question",
    ]


def test_tokens_are_rather_over_than_underestimated() -> None:
    assert [estimated_tokens(characters) for characters in (0, 1, 4, 5, 400)] == [0, 1, 1, 2, 100]
