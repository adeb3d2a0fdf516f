"""Answers put together of passages: what is told, in which order, with which markers; and what a visitor marked."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.chat.answer import Cited, Text
from server.chat.extract import LENGTHS, NO_ANSWER, SELECTION, SELECTION_TITLE, THRESHOLD, ExtractiveAnswerer
from server.chat.ingest import ingest
from server.chat.models import EXCERPT_LIMIT, SOURCES_LIMIT, Mode, Question, Source
from server.chat.passages import Passage, taken_apart
from server.chat.ranking import ranked
from server.chat.retrieval import FullTextRetriever
from server.chat.sentences import sentences
from server.chat.service import Chat
from server.chat.words import terms
from server.store.engine import Store
from tests.server.chat.asking import Told, asked
from tests.server.chat.documents import library
from tests.shared import naughty_strings


def _passages(question: str, *texts: str) -> list[Passage]:
    found = [
        Passage(f"d{number}-0", f"Title {number}", f"d{number}.md", text) for number, text in enumerate(texts)
    ]
    return ranked(found, dict.fromkeys(terms(question, 24), 1.0))


async def _answer(question: Question, passages: Sequence[Passage]) -> tuple[str, tuple[Source, ...]]:
    sources: tuple[Source, ...] = ()
    text = []
    async for piece in ExtractiveAnswerer().answer(question, passages):
        match piece:
            case Cited():
                sources = piece.sources
            case Text():
                text.append(piece.text)
    return "".join(text), sources


async def _of(message: str, *texts: str, **context: Any) -> tuple[str, tuple[Source, ...]]:
    body = {"message": message} | ({"context": context} if context else {})
    return await _answer(Question.model_validate(body), _passages(message, *texts))


async def test_the_sentence_that_holds_the_question_is_told_with_its_marker() -> None:
    text, sources = await _of(
        "Where do whales sing?", "Air is blue. Whales sing in the deep sea at night. Bees hum."
    )
    assert text == "Whales sing in the deep sea at night. [1]"
    assert (sources[0].id, sources[0].title, sources[0].url) == ("d0-0", "Title 0", "d0.md")
    assert sources[0].excerpt == "Whales sing in the deep sea at night. Bees hum."


async def test_markers_count_the_sources_in_order() -> None:
    text, sources = await _of(
        "Where do whales sing?",
        "Some say that whales sing near the northern coast of Norway.",
        "Whales sing in the deep sea, where nobody listens.",
    )
    assert re.findall(r"\[(\d)\]", text) == ["1", "2"]
    assert len(sources) == 2
    for number, part in enumerate(re.split(r" \[\d\]\s*", text)[:2]):
        assert sources[number].excerpt.startswith(part[:20])


async def test_the_same_sentence_in_two_documents_is_told_once() -> None:
    text, _ = await _of("Where do whales sing?", *["Whales sing in the deep sea at night."] * 3)
    assert text == "Whales sing in the deep sea at night. [1]"


async def test_code_comes_with_the_sentence_that_leads_to_it() -> None:
    text, _ = await _of(
        "How do I feed the whale?",
        "To feed the whale, run this:\n\n```sh\nwhale feed --krill 5\n```\n\nIt sings.",
    )
    assert text == "To feed the whale, run this:\n\n```sh\nwhale feed --krill 5\n```\n\n[1]"


async def test_a_list_comes_with_the_sentence_that_announces_it() -> None:
    text, _ = await _of(
        "What do whales eat?",
        "Whales eat mostly small animals:\n\n- krill\n- small fish\n- squid\n\nBees do not.",
    )
    assert text == "Whales eat mostly small animals:\n\n- krill\n- small fish\n- squid [1]"


async def test_of_a_long_listing_only_the_part_that_answers_is_shown() -> None:
    listing = "\n".join(
        f"# step {n}: {word}\nrun {word} --now --with care and patience"
        for n, word in enumerate(["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay"])
    )
    text, _ = await _of("How do I run the eel step?", f"Steps.\n\n```\n{listing}\n```")
    assert "run eel --now" in text
    assert "run fox" not in text
    assert text.count("```") == 2


async def test_a_question_within_the_text_is_answered_by_what_follows_it() -> None:
    text, _ = await _of(
        "Can whales climb trees?",
        "Can whales climb trees? No, they are too heavy for any branch known to us.",
    )
    assert text == "No, they are too heavy for any branch known to us. [1]"


async def test_markers_of_the_documents_own_are_not_taken_for_ours() -> None:
    text, _ = await _of(
        "Where do whales sing?", "Whales sing in the deep sea at night [3], says one book [12]."
    )
    assert text == "Whales sing in the deep sea at night (3), says one book (12). [1]"


async def test_what_hardly_bears_on_the_question_is_no_answer() -> None:
    text, sources = await _of("Which krill tariff applies to parcels from Norway?", "We send parcels.")
    assert (text, sources) == (NO_ANSWER, ())
    assert await _answer(Question(message="anything"), []) == (NO_ANSWER, ())


async def test_browsing_is_answered_more_briefly() -> None:
    texts = [
        f"Whales sing number {n} of many songs about krill and {word}."
        for n, word in enumerate(["ice", "sun", "rain", "wind"])
    ]
    long, _ = await _of("Which songs do whales sing?", *texts)
    short, _ = await _of("Which songs do whales sing?", *texts, mode="browse")
    assert short.count("[") <= LENGTHS[Mode.BROWSE].units < long.count("[")


@pytest.fixture
async def chat(store: Store, tmp_path: Path) -> Chat:
    await ingest(store, [library(tmp_path)])
    return Chat(FullTextRetriever(store), ExtractiveAnswerer())


async def _selected(chat: Chat, message: str, selected: str, **more: str) -> Told:
    return await asked(
        chat, Question.model_validate({"message": message, "context": {"selected_text": selected, **more}})
    )


async def test_marked_text_is_the_context_of_the_answer(chat: Chat) -> None:
    answer = await _selected(
        chat,
        "How long does the battery last?",
        "Our van is red. The battery of the van lasts for nine hours in winter. It needs no oil.",
        page_url="https://example.com/van",
    )
    assert answer.answer.startswith("The battery of the van lasts for nine hours in winter.")
    first = answer.sources[0]
    assert (first.id, first.title, first.url, first.score) == (
        SELECTION,
        SELECTION_TITLE,
        "https://example.com/van",
        1,
    )


async def test_the_documents_come_second_to_marked_text(chat: Chat) -> None:
    answer = await _selected(
        chat, "How far does the battery last?", "The battery of the van lasts for nine hours in winter."
    )
    assert answer.answer.index("nine hours") < answer.answer.replace("\xa0", " ").index("60 kilometres")
    assert [source.id == SELECTION for source in answer.sources][:2] == [True, False]


async def test_a_question_that_says_nothing_itself_is_about_what_is_marked(chat: Chat) -> None:
    marked = "A ride that is not ended within 24 hours counts as a loss, and the deposit is kept."
    answer = await _selected(chat, "What does this mean?", marked)
    assert answer.answer.startswith(marked)
    assert any(source.url.endswith("renting.md#how-to-end-a-ride") for source in answer.sources[1:])


async def test_marked_text_alone_is_enough_for_an_answer(store: Store) -> None:
    answer = await _selected(
        Chat(FullTextRetriever(store), ExtractiveAnswerer()), "Explain!", "Zebras have stripes. Lions do not."
    )
    assert answer.answer == "Zebras have stripes. Lions do not. [1]"
    assert [source.id for source in answer.sources] == [SELECTION]
    assert answer.sources[0].url == ""


@pytest.mark.parametrize("marked", [" \n ", "\x00", "\x07 \x1b"])
async def test_what_cannot_be_seen_is_not_marked_text(chat: Chat, marked: str) -> None:
    answer = await _selected(chat, "What is the capital of France?", marked)
    assert (answer.answer, answer.sources) == (NO_ANSWER, [])


def _is_sound(answer: Told) -> None:
    markers = {
        int(number)
        for number in re.findall(
            r"(?:^|\s)\[(\d+)\]", re.sub(r"(`{3,}).*?\1", "", answer.answer, flags=re.DOTALL)
        )
    }
    assert markers <= set(range(1, len(answer.sources) + 1))
    assert len(answer.sources) <= SOURCES_LIMIT
    assert all(len(source.excerpt) <= EXCERPT_LIMIT and 0 <= source.score <= 1 for source in answer.sources)
    assert answer.answer.strip()


async def test_any_naughty_string_can_be_marked(chat: Chat) -> None:
    for text in naughty_strings():
        _is_sound(await _selected(chat, "What is this about tracing a request?", text[:5_000]))


async def test_under_a_heading_that_asks_the_question_the_beginning_is_told() -> None:
    steps = "First unlock the dock. Then lift the wheel.\n\n```sh\ndockctl open\n```\n\nIt clicks. Nothing else is needed."
    asked = ranked([Passage("d-0", "How to return a bicycle", "d.md", steps)], {"return": 1.0, "bicycl": 1.0})
    text, sources = await _answer(Question(message="How do I return a bicycle?"), asked)
    assert text == "First unlock the dock. Then lift the wheel.\n\n```sh\ndockctl open\n```\n\n[1]"
    assert [source.id for source in sources] == ["d-0"]


async def test_a_row_of_links_is_not_told_where_there_is_a_sentence() -> None:
    links = "Start · Prices · Return a bicycle at night · Lost and found · Press"
    text, sources = await _of(
        "Where is a bicycle returned at night?", links, "A bicycle is returned at night at Pier 4."
    )
    assert text == "A bicycle is returned at night at Pier 4. [1]"
    assert sources[0].id == "d1-0"


async def test_a_command_with_pipes_is_no_row_of_links() -> None:
    command = "Count the errors of a log with `cat log | grep ERROR | sort | uniq -c | sort -n` and see."
    other = "Some say that the errors of a log count for nothing, and that nobody reads them anyway."
    text, _ = await _of("How do I count the errors of a log?", command, other)
    assert text.startswith("Count the errors")


async def test_a_heading_that_asks_the_question_and_has_no_word_below_it_is_no_answer() -> None:
    question = Question(message="How do I trace a request?")
    empty = ranked([Passage("d-0", "How to trace a request", "d.md", " ")], {"trace": 1.0, "request": 1.0})
    assert empty[0].score > THRESHOLD
    assert await _answer(question, empty) == (NO_ANSWER, ())


@settings(max_examples=150, deadline=None)
@given(
    message=st.text(min_size=1, max_size=300).filter(lambda text: bool(text.strip())),
    texts=st.lists(st.text(st.sampled_from("ab \n.-`#|[]1?:é"), max_size=600), max_size=6),
    selected=st.text(st.sampled_from("ab \n.-`[]1?"), max_size=300),
)
async def test_any_passages_make_a_sound_answer(message: str, texts: list[str], selected: str) -> None:
    question = Question.model_validate(
        {"message": message + " a b ab", "context": {"selected_text": selected}}
    )
    text, sources = await _answer(question, _passages(question.message, *texts))
    assert len(sources) <= SOURCES_LIMIT
    assert text or selected.strip() or texts
    for source in sources:
        assert len(source.excerpt) <= EXCERPT_LIMIT


@given(st.text(st.sampled_from("ab.!? \n`-(é。")))
def test_taking_a_text_apart_loses_no_word(text: str) -> None:
    joined = " ".join(unit.text for unit in taken_apart(text))
    assert sorted(re.findall(r"\w+", joined)) == sorted(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is e.g. SQLite. Dr. Who came.", ["It is e.g. SQLite.", "Dr. Who came."]),
        ("Version 1.5 is out. It runs.", ["Version 1.5 is out.", "It runs."]),
        ("Run `a. B` now. Then stop.", ["Run `a. B` now.", "Then stop."]),
        ('He said "Go." Then he went.', ['He said "Go."', "Then he went."]),
        ("1. Turn it on. 2. Ride.", ["1. Turn it on.", "2. Ride."]),
        ("It has 3. Then none.", ["It has 3.", "Then none."]),
        ("no end", ["no end"]),
        ("", []),
        ("一。二。", ["一。", "二。"]),
    ],
)
def test_a_sentence_ends_where_a_reader_would_stop(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


REFUNDS = "Have you paid twice? Write to us within 14 days. We send back what you paid. It takes a week. Then it is there."


def _found_by_meaning(text: str, nearness: float = 0.7) -> Passage:
    return Passage("r-0", "Refunds", "r.md", text, score=nearness, nearness=nearness)


async def test_a_passage_that_was_found_by_what_it_means_is_told_from_its_beginning_and_cited() -> None:
    text, sources = await _answer(
        Question(message="How do I get my money back?"), [_found_by_meaning(REFUNDS)]
    )
    assert text == "Write to us within 14 days. We send back what you paid. It takes a week. [1]"
    assert [(source.id, source.score) for source in sources] == [("r-0", 0.7)]


async def test_where_a_sentence_holds_the_question_it_is_told_and_not_the_beginning() -> None:
    question = "Where do whales sing?"
    (held,) = _passages(question, "Air is blue. Bees hum all day. Whales sing in the deep sea at night.")
    text, _ = await _answer(Question(message=question), [replace(held, nearness=0.4)])
    assert text == "Whales sing in the deep sea at night. [1]"


async def test_what_words_found_is_told_before_what_is_only_near() -> None:
    question = "Where do whales sing?"
    (held,) = _passages(question, "Whales sing in the deep sea at night.")
    text, sources = await _answer(Question(message=question), [_found_by_meaning(REFUNDS, 0.6), held])
    assert text == "Whales sing in the deep sea at night. [1]"
    assert [source.id for source in sources] == ["d0-0", "r-0"]


async def test_a_list_at_the_beginning_of_what_is_near_is_told_whole() -> None:
    steps = ("Open the app and log in", "Choose a ride", "Say what went wrong there", "Wait for our letter")
    items = "\n".join(f"- {step}" for step in steps)
    text, _ = await _answer(Question(message="How do I get my money back?"), [_found_by_meaning(items)])
    assert [step for step in steps if f"- {step}" in text] == list(steps)


async def test_what_is_not_near_enough_is_no_answer() -> None:
    text, sources = await _answer(
        Question(message="How do I get my money back?"), [_found_by_meaning(REFUNDS, 0.2)]
    )
    assert (text, sources) == (NO_ANSWER, ())
