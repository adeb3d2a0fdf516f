"""What a visitor may want to read next: what bears on the questions asked so far, and has not been shown.

    worth(passage) = Σ FADE^i · score(question i, passage)  ÷  Σ FADE^i        i = 0 for the last question, 1 for the one before…

Each page is recommended once, with its best passage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from server.chat.models import EXCERPT_LIMIT
from server.chat.passages import Passage, excerpt
from server.chat.retrieval import Retriever

from .models import Recommendation

QUESTIONS = 12
"""How many of the last questions are looked at."""
FADE = 0.8
"""What each earlier question counts beside the one after it."""
LEAST = 0.2
"""The least score of a passage that bears on a question."""
A_QUESTION = 8
"""How many passages are looked at for each."""


@dataclass(slots=True)
class _Candidate:
    passage: Passage
    question: str
    best: float = 0.0
    worth: float = 0.0
    bears_on: set[int] = field(default_factory=set)


async def recommended(
    retriever: Retriever, questions: Sequence[str], shown: frozenset[str], limit: int
) -> list[Recommendation]:
    """At most `limit` pages, the best first, for `questions`, the last one first; nothing whose ID or address is in `shown`.

    Raises ``StoreUnavailable``.
    """
    pages: dict[str, _Candidate] = {}
    for place, question in enumerate(questions[:QUESTIONS]):
        for passage in await retriever.search(question, A_QUESTION):
            if passage.id in shown or (passage.url and passage.url in shown) or passage.score < LEAST:
                continue
            page = passage.id.rpartition("-")[0]
            found = pages.setdefault(page, _Candidate(passage, question))
            if place not in found.bears_on:
                # The best passage of a page speaks for it: they come best first.
                found.bears_on.add(place)
                found.worth += FADE**place * passage.score
            if FADE**place * passage.score > found.best:
                found.best, found.passage, found.question = FADE**place * passage.score, passage, question
    whole = sum(FADE**place for place in range(len(questions[:QUESTIONS]))) or 1.0
    best = sorted(pages.values(), key=lambda found: -found.worth)[:limit]
    return [
        Recommendation(
            title=found.passage.heading,
            url=found.passage.url,
            excerpt=excerpt(found.passage.text, EXCERPT_LIMIT),
            score=round(min(found.worth / whole, 1.0), 4),
            because=found.question,
        )
        for found in best
    ]
