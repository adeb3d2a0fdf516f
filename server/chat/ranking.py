"""What a passage is worth to a question, by one formula, whatever database proposed it.

    score = (1 - CLOSE) · bm25 + CLOSE · closest
    bm25  = Σ w(t) · tf / (tf + k₁ · (1 - b + b · length / typical))  ÷  Σ w(t)        over the question's words t
    w(t)  = ln(1 + (N - n + ½) / (n + ½))                              N passages, n of them hold t

The middle line is BM25 (S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009) with Lucene's
weight, which stays positive in a collection of three passages, divided by the best that the question could reach. A
word that no passage holds weighs most of all, so a question whose telling words are absent scores low.

`closest` is how much of the question the best `STRETCH` of words holds, or the heading, by the same weights: words that stand
together answer better than words that are scattered. Words that stand side by side as they were asked weigh more, so it can be more than
all; of the score at most 1 is told.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import log as ln

from .matching import Matcher, Matches
from .passages import SEPARATOR, Passage
from .words import terms

K1 = 0.9
B = 0.4
HEADING_WEIGHT = 2
"""A word in the headings counts as this many in the text."""
TYPICAL_WORDS = 130
"""The length that counts as usual; about what `splitter` aims at."""
CLOSE = 0.4
"""How much the closest stretch counts, beside the whole passage."""
STRETCH = 24
"""Words; about a sentence."""
ABOVE = 0.35
"""How much of a word's weight counts where only the headings hold it."""
LEADS = 1.25
"""How much more than in the text a word counts as held where the passage's own heading holds it: that may ask the very question."""
ELSE = 0.3
"""How much less it counts when nearly all of a heading is about something else."""
ADJACENT = 0.15
"""How much more two words weigh that stand side by side in the question and in the text."""

_NOTHING: frozenset[str] = frozenset()


def weight(total: int, holding: int) -> float:
    """What a word says that `holding` of `total` passages hold: more than 0, and more for rarer ones."""
    return ln(1 + (total - holding + 0.5) / (holding + 0.5))


def ranked(passages: Sequence[Passage], weights: Mapping[str, float]) -> list[Passage]:
    """`passages` with their scores, best first; those that hold none of the words left out.

    `weights` has the stem of each word of the question, in the order asked.
    """
    whole = sum(weights.values())
    matcher = Matcher(weights)
    scored = []
    for passage in passages:
        text, heading = matcher.find(passage.text), matcher.find(passage.heading)
        found = text.terms | heading.terms
        if found:
            bm25 = _bm25(text, heading, weights) / whole
            own = matcher.find(own_heading := passage.heading.rpartition(SEPARATOR)[2])
            closest = (
                max(
                    _closest(text, heading.terms, weights),
                    LEADS * fitting(own, own_heading) * held(own, _NOTHING, weights),
                )
                / whole
            )
            score = (1 - CLOSE) * bm25 + CLOSE * closest
            matched = {term: weight for term, weight in weights.items() if term in found}
            scored.append(replace(passage, score=score, matched=matched))
    # Among equals, the order of the database.
    scored.sort(key=lambda passage: -passage.score)
    return [replace(passage, score=min(passage.score, 1.0)) for passage in scored]


def fitting(matches: Matches, heading: str) -> float:
    """How well a heading fits that holds these words of the question: the fewer others it has, the better."""
    said = len(terms(heading, 24)) or 1
    return 1 - ELSE * (1 - min(len(matches.terms) / said, 1.0))


def held(matches: Matches, above: frozenset[str], weights: Mapping[str, float]) -> float:
    """The weight of the words that a text holds, a part of those only `above` it, and more where they stand as asked."""
    terms = matches.terms
    total = sum(weights[term] for term in terms) + ABOVE * sum(weights[term] for term in above - terms)
    return total + _adjacent(matches.hits, weights)


def _adjacent(hits: Sequence[tuple[int, str]], weights: Mapping[str, float]) -> float:
    if len(hits) < 2:
        return 0.0
    asked = set(pairwise(weights))
    found = {
        (first, second)
        for (at, first), (next_at, second) in pairwise(hits)
        if next_at == at + 1 and (first, second) in asked
    }
    return ADJACENT * sum(weights[first] + weights[second] for first, second in found)


def _closest(text: Matches, above: frozenset[str], weights: Mapping[str, float]) -> float:
    """What the best stretch of `text` holds."""
    best = held(Matches(0, ()), above, weights)
    end = 0
    for start, (at, _) in enumerate(text.hits):
        while end < len(text.hits) and text.hits[end][0] < at + STRETCH:
            end += 1
        best = max(best, held(Matches(STRETCH, text.hits[start:end]), above, weights))
    return best


def _bm25(text: Matches, heading: Matches, weights: Mapping[str, float]) -> float:
    occurrences = Counter(term for _, term in text.hits)
    for _, term in heading.hits:
        occurrences[term] += HEADING_WEIGHT
    saturation = K1 * (1 - B + B * text.length / TYPICAL_WORDS)
    return sum(weights[term] * tf / (tf + saturation) for term, tf in occurrences.items())
