"""Find passages by their words and by what they mean, both at once, and make one order of the two.

    worth(passage) = Σ 1 / (K + place)        its place, from 1, in the order by words and in the order by meaning

That is reciprocal rank fusion (G. Cormack, C. Clarke, S. Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
learning methods", SIGIR 2009). It needs no scores that can be compared. Both orders are of the same passages: those that the database
proposes for the words, and those whose vectors are near enough to the question's.

Scores stay what they are with words alone: a cosine from `similarity` on becomes a score from `THRESHOLD` on, the better of the
two counts, and a passage scores no less than one that comes after it. Where no passage is near enough, or the model that embeds does not
answer in time, the result is that of words alone.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import fsum
from typing import TYPE_CHECKING

from pipeline.context import note
from server.store.engine import StoreUnavailable
from server.upstream.embeddings import Embeddings
from server.upstream.failures import CIRCUIT_OPEN, LLMFailure

from .extract import THRESHOLD
from .passages import Passage
from .ranking import ranked
from .retrieval import CANDIDATES, Found, FullTextRetriever
from .vectors import Near, Vectors
from .words import printable, terms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K = 60
CHARACTERS = 2_000
"""Of a question; what is longer is refused before it comes here, or cut."""


class HybridRetriever:
    """Retrieval by words and by meaning; a cosine from `similarity` on (0-1) says that a passage bears on a question."""

    def __init__(
        self, fulltext: FullTextRetriever, embeddings: Embeddings, vectors: Vectors, similarity: float
    ) -> None:
        self._fulltext = fulltext
        self._embeddings = embeddings
        self._vectors = vectors
        self._similarity = similarity

    async def search(self, question: str, limit: int) -> Sequence[Passage]:
        """See `Retriever`."""
        if limit < 1:
            return []
        most = max(limit, CANDIDATES)
        found, vector = await self._both(question, most)
        near: Sequence[Near] = ()
        if vector is not None:
            try:
                near = await self._vectors.nearest(vector, self._similarity, most, found.candidates)
            except StoreUnavailable:  # The store has told; words have found what they found.
                near = ()
        return fused(found, near, self._similarity)[:limit]

    async def _both(self, question: str, limit: int) -> "tuple[Found, NDArray[np.float32] | None]":
        """What the words find, and the question's vector, at the same time."""
        # Of what says nothing, such as "how do I do that?", there is nothing to be near to.
        if not terms(question, 1):
            return await self._fulltext.find(question, limit), None
        meaning = asyncio.create_task(self._vector(" ".join(printable(question).split())[:CHARACTERS]))
        try:
            found = await self._fulltext.find(question, limit)
            return found, await meaning
        finally:
            meaning.cancel()

    async def _vector(self, question: str) -> "NDArray[np.float32] | None":
        """What `question` means, if that is known in time; the request's event says how it went."""
        dimensions = await self._vectors.dimensions()
        if dimensions is None:
            note(embedding="no_vectors")
            return None
        vector = self._embeddings.remembered(question, dimensions)
        if vector is not None:
            note(embedding="remembered")
            return vector
        try:
            vector = await self._embeddings.of_question(question, dimensions)
        except LLMFailure as failure:
            note(embedding="circuit_open" if failure.status == CIRCUIT_OPEN else failure.name)
            return None
        note(embedding="asked")
        return vector


def fused(found: Found, near: Sequence[Near], similarity: float) -> list[Passage]:
    """One order of what words `found` and what is `near`, best first; the latter has the candidates of the former, too.

    Without a passage that is near enough it is the order by words.
    """
    if not any(one.cosine >= similarity for one in near):
        return ranked(found.candidates, found.weights)
    passages = {passage.id: passage for passage in found.candidates}
    for one in near:
        passages.setdefault(one.passage.id, one.passage)
    by_words = ranked(list(passages.values()), found.weights)
    by_meaning = sorted(near, key=lambda one: (-one.cosine, one.passage.id))
    passages |= {passage.id: passage for passage in by_words}
    for one in by_meaning:
        if one.cosine >= similarity:
            passage = passages[one.passage.id]
            nearness = score_of(one.cosine, similarity)
            passages[passage.id] = replace(passage, nearness=nearness, score=max(passage.score, nearness))
    worth = reciprocal_ranks(([passage.id for passage in by_words], [one.passage.id for one in by_meaning]))
    bearing = [passage for passage in passages.values() if passage.score > 0]
    return _falling(sorted(bearing, key=lambda passage: (-worth[passage.id], -passage.score)))


def reciprocal_ranks(rankings: Iterable[Sequence[str]]) -> Mapping[str, float]:
    """What each name is worth that stands in one of `rankings`, each of which has it once at most."""
    parts: dict[str, list[float]] = defaultdict(list)
    for ranking in rankings:
        for place, name in enumerate(ranking, 1):
            parts[name].append(1 / (K + place))
    # Exact, so that it does not matter which ranking comes first.
    return {name: fsum(values) for name, values in parts.items()}


def score_of(cosine: float, similarity: float) -> float:
    """A cosine as a score: `similarity` is `THRESHOLD`, 1 is 1."""
    return THRESHOLD + (1 - THRESHOLD) * (min(cosine, 1.0) - similarity) / (1 - similarity)


def _falling(passages: Sequence[Passage]) -> list[Passage]:
    """The same, each with no lower a score than those after it."""
    found: list[Passage] = []
    best = 0.0
    for passage in reversed(passages):
        best = max(best, passage.score)
        found.append(passage if passage.score == best else replace(passage, score=best))
    return found[::-1]
