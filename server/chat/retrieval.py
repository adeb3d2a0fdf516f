"""Find the passages that bear on a question, best first, with a score that means something.

The database only proposes candidates; they are weighed here, by one formula, so that a score means the same whatever
database proposed them:

    score = Σ w(t) · tf / (tf + k₁ · (1 - b + b · length / typical))  ÷  Σ w(t)        over the question's words t
    w(t)  = ln(1 + (N - n + ½) / (n + ½))                              N passages, n of them hold t

This is BM25 (S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009), with Lucene's
weight, which stays positive in a collection of three passages, divided by the best that the question could reach. A
word that no passage holds weighs most of all, so a question whose telling words are absent scores low.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log as ln
from typing import Protocol

from server.store import fulltext
from server.store.engine import Store

from .words import stems, terms

K1 = 0.9
B = 0.4
HEADING_WEIGHT = 3
"""A word in a heading counts as this many in the text."""
TYPICAL_WORDS = 130
"""The length that counts as usual; about what `splitter` aims at."""

COUNTED_TERMS = 64
"""How many different words of a question are looked up."""
SEARCHED_TERMS = 24
"""How many of them, the rarest, are searched for: it bounds the cost of a long question."""
CANDIDATES = 24
"""How many passages the database proposes, at least."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document that bears on a question.

    `heading` is the document's title and the headings above it; `text` is light Markdown; `score` is 0-1; `matched` holds
    the stems of the question's words that it holds, each with what it weighs.
    """

    id: str
    heading: str
    url: str
    text: str
    score: float
    matched: Mapping[str, float] = field(default_factory=dict)


class Retriever(Protocol):
    """Finds the passages that bear on a question.

    Every implementation passes `tests/contract/test_retriever.py`.
    """

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        """Best first, at most `limit`, scores in 0-1; empty when nothing bears on it. Raises ``StoreUnavailable``."""


class SQLiteRetriever:
    """Retrieval by SQLite's FTS5: two statements a question."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        """See `Retriever`."""
        asked = terms(question, COUNTED_TERMS)
        if not asked or limit < 1:
            return []
        async with self._store.reading("search") as fetch:
            total, counts = await fulltext.frequencies(fetch, list(asked.values()))
            found = dict(zip(asked, counts, strict=True))
            # The rarest first; among equals, in the order asked.
            kept = sorted(found, key=lambda term: found[term])[:SEARCHED_TERMS]
            searched = _telling([term for term in kept if found[term]], found, total)
            if not searched:
                return []
            rows = await fulltext.candidates(
                fetch, [asked[term] for term in searched], max(limit, CANDIDATES)
            )
        weights = {term: weight(total, found[term]) for term in kept}
        return ranked(
            [
                Passage(f"{document}-{position}", heading, f"{url}#{anchor}" if anchor else url, text, 0.0)
                for document, position, url, anchor, heading, text in rows
            ],
            weights,
        )[:limit]


def weight(total: int, holding: int) -> float:
    """What a word says that `holding` of `total` passages hold: 0 for none that could be told apart, more for rarer ones."""
    return ln(1 + (total - holding + 0.5) / (holding + 0.5))


def ranked(passages: Sequence[Passage], weights: Mapping[str, float]) -> list[Passage]:
    """`passages` with their scores, best first; those that hold none of the words left out."""
    best = sum(weights.values())
    scored = []
    for passage in passages:
        body = stems(passage.text)
        occurrences = Counter(body)
        headings = Counter(stems(passage.heading))
        saturation = K1 * (1 - B + B * len(body) / TYPICAL_WORDS)
        reached = 0.0
        matched = {}
        for term, weighs in weights.items():
            if tf := occurrences[term] + HEADING_WEIGHT * headings[term]:
                reached += weighs * tf / (tf + saturation)
                matched[term] = weighs
        if matched:
            score = min(reached / best, 1.0)
            scored.append(Passage(passage.id, passage.heading, passage.url, passage.text, score, matched))
    # The order of the database among equals.
    scored.sort(key=lambda passage: -passage.score)
    return scored


def _telling(searched: Sequence[str], found: Mapping[str, int], total: int) -> Sequence[str]:
    """The words to search for: those that more than half of the passages hold weigh next to nothing and cost most."""
    return [term for term in searched if found[term] <= total / 2] or searched
