"""The seam between finding and saying: whatever writes an answer yields the same few pieces.

First `Cited` with the sources, then `Text` as it becomes known, and `Spent` when tokens were paid for. The extractive
answerer (`extract`) and a language model differ in nothing else, so a turn and a stream are written once.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .models import Question, Source
from .passages import Passage


@dataclass(frozen=True, slots=True)
class Cited:
    """What the answer rests on; empty when the documents do not hold it. Always the first piece, and only once."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """The next piece of the answer; the pieces joined are the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens that a language model counted."""

    tokens: int


Piece = Cited | Text | Spent


class Answerer(Protocol):
    """Makes an answer of passages."""

    @property
    def model(self) -> str:
        """The name in the answer's metadata."""

    def answer(self, question: Question, passages: Sequence[Passage]) -> AsyncGenerator[Piece]:
        """The pieces of an answer to `question` from `passages`, best first; works for none.

        It is closed when nobody waits for the answer any more.
        """
