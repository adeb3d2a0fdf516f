"""Where the words of a question stand in a text.

Stemming every word of every passage would cost more than finding the passages. A word can only have a certain stem if it
begins as the stem does, and few words do, so only those are stemmed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .words import stem, words

# Porter's steps replace at most the last letter of what becomes the stem, and only by one of these.
_REPLACED = ("i", "e", "l")


@dataclass(frozen=True, slots=True)
class Matches:
    """`hits` are (how many words stand before it, stem) for each word of the question in a text of `length` words."""

    length: int
    hits: Sequence[tuple[int, str]]

    @property
    def terms(self) -> frozenset[str]:
        """The question's words that the text holds."""
        return frozenset(term for _, term in self.hits)


class Matcher:
    """Finds certain stems in texts."""

    def __init__(self, terms: Iterable[str]) -> None:
        self._terms = frozenset(terms)
        self._beginnings = tuple({beginning(term) for term in self._terms})

    def find(self, text: str) -> Matches:
        """The words of `text` that have one of the stems."""
        there = words(text)
        beginnings = self._beginnings
        near = [(index, stem(word)) for index, word in enumerate(there) if word.startswith(beginnings)]
        return Matches(len(there), [hit for hit in near if hit[1] in self._terms])


def beginning(term: str) -> str:
    """What every word begins with that has the stem `term`."""
    return term[:-1] if term.endswith(_REPLACED) else term
