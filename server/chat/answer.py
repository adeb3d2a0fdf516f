"""The seam between finding and saying: whatever writes an answer yields the same few pieces.

First `Cited` with the sources, then `Text` as it becomes known, `Spent` when tokens were paid for, and `StandIn` when somebody else
had to write. The extractive answerer (`extract`) and one that asks a language model (`generate`) differ in nothing else, so a turn and
a stream are written once.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from server.errors import ServiceUnavailable

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
    """Tokens that a language model was paid for: as it counted them, or estimated where it did not."""

    tokens: int


@dataclass(frozen=True, slots=True)
class StandIn:
    """The text from here on is written by `model` instead of the answerer itself; `degraded` says why, if that is second best."""

    model: str
    degraded: str = ""


@dataclass(frozen=True, slots=True)
class Sanitised:
    """How many things were taken from what a language model wrote, because they are not fit to be shown."""

    removed: int


@dataclass(frozen=True, slots=True)
class Recalled:
    """A language model was not asked: it wrote this answer before, when it was told the very same."""


@dataclass(frozen=True, slots=True)
class NotHeld:
    """The answer says that the documents do not hold it, although passages were found."""


Piece = Cited | Text | Spent | StandIn | Sanitised | Recalled | NotHeld


class Earlier(NamedTuple):
    """An earlier question and its answer."""

    question: str
    answer: str


class BrokeOff(ServiceUnavailable):
    """A language model stopped in the middle of an answer; `instead` is what may be told where nothing of it has been shown."""

    def __init__(self, instead: Sequence[Piece]) -> None:
        super().__init__("The answer broke off. Please ask again in a moment.", retry_after=5)
        self.instead = instead


class Answerer(Protocol):
    """Makes an answer of passages."""

    @property
    def model(self) -> str:
        """The name in the answer's metadata."""

    def answer(
        self,
        question: Question,
        passages: Sequence[Passage],
        history: Sequence[Earlier] = (),
        conversation: str | None = None,
    ) -> AsyncGenerator[Piece]:
        """The pieces of an answer to `question` from `passages`, best first; works for none.

        `history` is what was asked and answered before in its `conversation`, the latest last. It is closed when nobody waits for the answer
        any more.
        """
