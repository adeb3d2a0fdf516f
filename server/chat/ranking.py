"""What a passage is worth to a question, by one formula, whatever database proposed it.

    score = (1 - CLOSE) · bm25 + CLOSE · best unit
    bm25  = Σ w(t) · tf / (tf + k₁ · (1 - b + b · length / typical))  ÷  Σ w(t)        over the question's words t
    w(t)  = ln(1 + (N - n + ½) / (n + ½))                              N passages, n of them hold t

The middle line is BM25 (S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009) with Lucene's
weight, which stays positive in a collection of three passages, divided by the best that the question could reach. A
word that no passage holds weighs most of all, so a question whose telling words are absent scores low.

The best unit is the sentence, item or command that holds most of the question by the same weights: words that stand
together answer better than words that are scattered.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import log as ln

from .passages import Passage, Unit, taken_apart
from .words import stems

K1 = 0.9
B = 0.4
HEADING_WEIGHT = 2
"""A word in the headings counts as this many in the text."""
TYPICAL_WORDS = 130
"""The length that counts as usual; about what `splitter` aims at."""
CLOSE = 0.4
"""How much the best unit counts, beside the whole passage."""
ABOVE = 0.35
"""How much of a word's weight a unit gets when the headings above it hold it."""
ADJACENT = 0.15
"""How much more two words weigh that stand side by side in the question and in the unit."""


def weight(total: int, holding: int) -> float:
    """What a word says that `holding` of `total` passages hold: more than 0, and more for rarer ones."""
    return ln(1 + (total - holding + 0.5) / (holding + 0.5))


def ranked(passages: Sequence[Passage], weights: Mapping[str, float]) -> list[Passage]:
    """`passages` with their scores, best first; those that hold none of the words left out.

    `weights` has the stem of each word of the question, in the order asked.
    """
    whole = sum(weights.values())
    scored = []
    for passage in passages:
        units = taken_apart(passage.text)
        headings = stems(passage.heading)
        matched = {
            term: weights[term] for term in weights if term in headings or any(term in u.words for u in units)
        }
        if matched:
            bm25 = _bm25(units, headings, matched) / whole
            closest = max((worth(unit, headings, weights) for unit in units), default=0.0)
            score = min((1 - CLOSE) * bm25 + CLOSE * min(closest, 1.0), 1.0)
            scored.append(replace(passage, score=score, matched=matched, units=units))
    # Among equals, the order of the database.
    scored.sort(key=lambda passage: -passage.score)
    return scored


def worth(unit: Unit, headings: Sequence[str], weights: Mapping[str, float]) -> float:
    """How much of the question `unit` holds: 1 for all of its words, a little more where they stand as asked."""
    held = 0.0
    for term, weighs in weights.items():
        if term in unit.words:
            held += weighs
        elif term in headings:
            held += ABOVE * weighs
    if not held:
        return 0.0
    asked = list(weights)
    pairs = {pair for pair in pairwise(asked) if pair[0] in unit.words and pair[1] in unit.words}
    if pairs:
        adjacent = pairs.intersection(pairwise(unit.stems))
        held += sum(ADJACENT * (weights[first] + weights[second]) for first, second in adjacent)
    return held / sum(weights.values())


def _bm25(units: Sequence[Unit], headings: Sequence[str], weights: Mapping[str, float]) -> float:
    occurrences: Counter[str] = Counter()
    length = 0
    for unit in units:
        occurrences.update(unit.stems)
        length += len(unit.stems)
    saturation = K1 * (1 - B + B * length / TYPICAL_WORDS)
    reached = 0.0
    for term, weighs in weights.items():
        tf = occurrences[term] + HEADING_WEIGHT * headings.count(term)
        reached += weighs * tf / (tf + saturation)
    return reached
