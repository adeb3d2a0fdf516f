"""Find the passages that bear on a question, best first, with a score that means something (see `ranking`)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from server.store import fulltext
from server.store.dialects import Row
from server.store.engine import Store

from .passages import Passage
from .ranking import ranked, weight
from .words import terms

COUNTED_TERMS = 64
"""How many different words of a question are looked up."""
SEARCHED_TERMS = 24
"""How many of them, the rarest, are searched for: it bounds the cost of a long question."""
COMMON = 500
"""A word that more than this many passages hold, and more than half of all, is not searched for if another is left."""
CANDIDATES = 16
"""How many passages the database proposes, at least."""


class Retriever(Protocol):
    """Finds the passages that bear on a question.

    Every implementation passes `tests/contract/test_retriever.py`.
    """

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        """Best first, at most `limit`, scores in 0-1; empty when nothing bears on it. Raises ``StoreUnavailable``."""


class Found(NamedTuple):
    """What the database proposes for a question: passages in no order yet, and what each of the question's words weighs."""

    candidates: Sequence[Passage]
    weights: Mapping[str, float]


class FullTextRetriever:
    """Retrieval by the full text of the database: two statements a question.

    The first counts how many passages hold each word. The second then looks for the telling ones only: on 10,000 passages
    that costs a third of searching for all, because a common word matches thousands of passages and decides nothing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fulltext = fulltext.of(store)

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        """See `Retriever`."""
        if limit < 1:
            return []
        candidates, weights = await self.find(question, max(limit, CANDIDATES))
        return ranked(candidates, weights)[:limit]

    async def find(self, question: str, limit: int) -> Found:
        """At most `limit` passages that hold words of `question`, not ranked. Raises ``StoreUnavailable``."""
        asked = terms(question, COUNTED_TERMS)
        if not asked:
            return Found((), {})
        async with self._store.fetching("search") as fetch:
            total, counts = await self._fulltext.frequencies(fetch, list(asked.values()))
            found = dict(zip(asked, counts, strict=True))
            rarest = set(sorted(found, key=found.__getitem__)[:SEARCHED_TERMS])
            kept = [term for term in asked if term in rarest]
            searched = _telling(kept, found, total)
            weights = {term: weight(total, found[term]) for term in kept}
            if not searched:
                return Found((), weights)
            rows = await self._fulltext.candidates(
                fetch, {asked[term]: weights[term] for term in searched}, limit
            )
        return Found([passage_of(row) for row in rows], weights)


def passage_of(row: Row) -> Passage:
    """The passage that a row tells of: (document, position, url, anchor, heading, text)."""
    document, position, url, anchor, heading, text = row
    return Passage(f"{document}-{position}", heading, f"{url}#{anchor}" if anchor else url, text)


def _telling(terms: Sequence[str], found: Mapping[str, int], total: int) -> Sequence[str]:
    """The words to search for: not those that no passage holds, nor, if others are left, those that are common."""
    held = [term for term in terms if found[term]]
    return [term for term in held if found[term] <= max(total / 2, COMMON)] or held
