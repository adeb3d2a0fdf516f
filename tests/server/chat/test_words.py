"""Words and stems: what the index does to documents, done to questions."""

import random
import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.matching import Matcher, beginning
from server.chat.words import STOP_WORDS, WORD, printable, stem, terms, words
from tests.harness import ROOT

_ENDINGS = (
    "sses ies s eed ed ing y ational tional enci anci izer logi bli alli entli eli ousli ization ation ator alism iveness fulness "
    "ousness aliti iviti biliti icate ative alize iciti ical ful ness al ance ence er ic able ible ant ement ment ent ion ou ism "
    "ate iti ous ive ize e ll"
).split()


def _vocabulary(rng: random.Random) -> list[str]:
    """The words of the project's own files, and 40,000 made of a few letters and every ending that a stemmer knows."""
    made: set[str] = set()
    for path in [*ROOT.glob("server/**/*.py"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")]:
        made.update(re.findall("[a-z]+", path.read_text().lower()))
    while len(made) < 40_000:
        start = "".join(rng.choices("abceilorstyy", k=rng.randint(0, 5)))
        made.add(start + "".join(rng.choices(_ENDINGS, k=rng.randint(1, 3))))
    return sorted(made)


def test_the_stemmer_agrees_with_the_one_of_the_index(rng: random.Random) -> None:
    vocabulary = _vocabulary(rng)
    index = sqlite3.connect(":memory:")
    index.execute("CREATE VIRTUAL TABLE f USING fts5(word, tokenize='porter unicode61')")
    index.execute("CREATE VIRTUAL TABLE v USING fts5vocab(f, instance)")
    index.executemany("INSERT INTO f(rowid, word) VALUES (?, ?)", enumerate(vocabulary))

    theirs = dict(index.execute("SELECT doc, term FROM v"))

    assert {word: stem(word) for word in vocabulary} == {
        word: theirs[number] for number, word in enumerate(vocabulary)
    }


def test_every_word_begins_as_its_stem_does(rng: random.Random) -> None:
    assert [word for word in _vocabulary(rng) if not word.startswith(beginning(stem(word)))] == []


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How do I trace a request?", ["trace", "request"]),
        ("Requests, requested, REQUESTING", ["request"]),
        ("How large may a log line be?", ["log", "line"]),
        ("Where's the naïve café?", ["naiv", "cafe"]),
        ("what is the X-Request-ID", ["x", "request", "id"]),
        ("who are you?", []),
        ("", []),
        ("?!… \x00 🎉", []),
    ],
)
def test_the_terms_of_a_question_are_what_it_is_about(question: str, expected: list[str]) -> None:
    assert list(terms(question, 64)) == expected


def test_a_letter_and_its_accent_are_one_word() -> None:
    assert list(terms("cafe\u0301s", 8)) == list(terms("caf\u00e9s", 8))


@given(st.text(st.characters(max_codepoint=127), max_size=300))
def test_a_text_in_ascii_has_the_words_that_the_expression_finds(text: str) -> None:
    assert words(text) == WORD.findall(text.lower())
    assert words(f"{text} é") == [*words(text), "e"]


def test_no_more_terms_than_asked_for() -> None:
    assert len(terms(" ".join(f"word{number}" for number in range(500)), 64)) == 64


def test_negations_are_no_stop_words() -> None:
    assert not STOP_WORDS & {"not", "no", "never"}


@given(st.text())
def test_any_text_has_terms_and_loses_only_what_cannot_be_shown(text: str) -> None:
    terms(text, 64)
    shown = printable(text)
    assert len(shown) == len(text)
    shown.encode()


@given(st.text(max_size=200))
def test_a_matcher_finds_every_word_that_has_the_stem(text: str) -> None:
    wanted = terms("requests traced by the servers", 8)
    found = Matcher(wanted).find(text + " Tracing a REQUEST ")
    assert {"trace", "request"} <= found.terms
    assert all(0 <= index < found.length for index, _ in found.hits)
