"""An answer without a language model: the sentences that bear on the question, as they stand, each with its source.

Passages are taken apart (`passages`), and each unit is worth the question's words that it holds, by their weight, helped by the
headings above it and by how well its passage fits. The best ones, from however many passages, are told, the best
passage first; what announces a command or a list is told with it. Of a passage that was found by what it means rather than by its
words, the beginning is told. What a visitor marked on the page comes first and is never left out.

When no passage reaches `THRESHOLD` the answer says that the documents do not hold it, and cites nothing.
"""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .answer import Cited, Earlier, Piece, Text
from .matching import Matcher
from .models import EXCERPT_LIMIT, SOURCES_LIMIT, Mode, Question, Source
from .passages import SEPARATOR, Passage, Unit, excerpt, taken_apart
from .ranking import LEADS, fitting, held, ranked
from .words import stems, terms

MODEL = "extractive"
NO_ANSWER = "The documents do not hold an answer to that."

THRESHOLD = 0.32
"""The least score of the best passage for an answer. Chosen on labelled questions: `tests/server/chat/test_quality.py`."""
NEAR = 0.5
"""A passage is considered if its score is at least this much of the best one's."""
A_DOCUMENT = 2
"""At most this many of the sources come from one document."""

SELECTION = "selection"
SELECTION_TITLE = "Selected text"

# What a unit is worth beyond the words it holds, as parts of a question wholly held.
_FIRST = 0.05  # the first unit of a passage says what it is about
_FITTING = 0.1  # a command for "how do I", a figure for "how many"
_TELLING = 5  # a unit with fewer words besides the question's own
_HEADING_LIKE = 0.6  # repeats the question; it is worth this part
_ASKS = 0.75  # how much of the question a heading holds that asks it
_TITLE = 2  # words
_OPENING = 3  # how many units are the beginning of a passage
_ENOUGH = 0.7  # how much of the best unit's worth another one needs to be told as well
_ALIKE = 0.7  # the share of words in common that makes two units one

_ASKS_HOW = re.compile(r"\bhow (?:do|can|to|should|would|must)\b|\bcommands?\b|\bsteps?\b", re.IGNORECASE)
_ASKS_HOW_MUCH = re.compile(
    r"\bhow (?:many|much|long|large|big|often|fast|old|far|high)\b|\bwhen\b|\b(?:max|min)imum\b|\blimits?\b|\bport\b|\bprice\b|\bcosts?\b",
    re.IGNORECASE,
)
Place = tuple[int, int]

# Code within a sentence, or a block in a shell's language or none.
_COMMAND = re.compile(r"(?<!`)`[^`]|^`{3,}(?:bash|sh|shell|console|zsh|text)?\n", re.MULTILINE)
_DRAWING = re.compile("[\u2500-\u257f\u25b2-\u25c4]")
_NAVIGATION = re.compile(
    r"(?: [\u00b7\u2022\u00bb\u203a] .+?){3}"
)  # a row of links; not `|`, which commands have
_DIGIT = re.compile(r"\d")
_MARKER = re.compile(r"\[(\d{1,3})\]")


@dataclass(frozen=True, slots=True)
class Length:
    """How long an answer may be: units in all, units of one passage, and characters."""

    units: int
    a_passage: int
    characters: int


LENGTHS: Mapping[Mode, Length] = {Mode.BROWSE: Length(2, 2, 400), Mode.CHAT: Length(5, 3, 900)}


class ExtractiveAnswerer:
    """Answers in the documents' own words."""

    model = MODEL

    async def answer(
        self,
        question: Question,
        passages: Sequence[Passage],
        history: Sequence[Earlier] = (),  # noqa: ARG002 - the documents say the same, whatever was asked before
        conversation: str | None = None,  # noqa: ARG002 - and cost nothing
    ) -> AsyncGenerator[Piece]:
        """See `Answerer`."""
        draft = drafted(question, passages)
        if draft is None:
            yield Cited(())
            yield Text(NO_ANSWER)
            return
        yield Cited(draft.sources())
        for piece in draft.told():
            yield Text(piece)


def drafted(question: Question, passages: Sequence[Passage]) -> "Draft | None":
    """What an answer to `question` rests on, and how the documents say it; None when they do not hold one."""
    considered = _considered(passages)
    if question.selected_text:
        considered = [_selection(question, considered), *considered]
    if not considered:
        return None
    draft = Draft(question, considered)
    draft.choose(LENGTHS[question.mode])
    return draft if draft.says_something else None


def _considered(passages: Sequence[Passage]) -> list[Passage]:
    """The passages that an answer may rest on, best first; none when the best one hardly bears on the question."""
    if not passages or passages[0].score < THRESHOLD:
        return []
    return [passage for passage in passages if passage.score >= NEAR * passages[0].score]


def _selection(question: Question, others: Sequence[Passage]) -> Passage:
    """What the visitor marked, as a passage: it is the context whatever it holds, so it scores 1."""
    weights = {term: weight for passage in others for term, weight in passage.matched.items()}
    for term in terms(question.message, 24):
        weights.setdefault(term, 1.0)
    marked = Passage(SELECTION, SELECTION_TITLE, question.page_url, question.selected_text)
    (passage,) = ranked([marked], weights) or [marked]
    return replace(passage, score=1.0)


class Draft:
    """One answer in the making. A place is the number of a passage and the position of a unit in it."""

    def __init__(self, question: Question, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._units = [taken_apart(passage.text) for passage in passages]
        self._led: set[int] = set()  # passages whose heading asks the question, or that mean what it means
        self._worth = self._weighed(question)
        self._chosen: dict[Place, Unit] = {}
        self._cited: list[int] = []

    def _weighed(self, question: Question) -> dict[Place, float]:
        """What each unit is worth."""
        weights = {term: weight for passage in self._passages for term, weight in passage.matched.items()}
        whole = sum(weights.values()) or 1.0
        matcher = Matcher(weights)
        how = _ASKS_HOW.search(question.message)
        how_much = _ASKS_HOW_MUCH.search(question.message)
        top = max(passage.score for passage in self._passages)
        worths: dict[Place, float] = {}
        for index, passage in enumerate(self._passages):
            above = matcher.find(passage.heading).terms
            fit = 0.5 + 0.5 * passage.score / top
            # What a heading that asks the question is worth, or a question within the text, belongs to what follows it.
            led = asked = self._asked_above(passage, matcher, weights) / whole
            values: list[float] = []
            for position, unit in enumerate(self._units[index]):
                matches = matcher.find(unit.text)
                value = held(matches, above, weights) / whole
                if _is_question(unit):
                    values.append(0.3 * value)
                    asked = value
                    continue
                value, asked = max(value, asked) + _FIRST / (1 + position), 0.0
                if (how and _is_command(unit)) or (how_much and _DIGIT.search(unit.text)):
                    value += _FITTING
                if matches.length - len(matches.hits) < _TELLING or _NAVIGATION.search(unit.text):
                    value *= _HEADING_LIKE
                values.append(value)
            if led or passage.nearness > max(values, default=0.0):
                self._open(index, values, max(led, passage.nearness))
            worths |= {(index, position): value * fit for position, value in enumerate(values)}
        return worths

    def _open(self, index: int, values: list[float], worth: float) -> None:
        """Let the beginning of a passage speak that is here for its heading, or for what it means, more than for its words."""
        self._led.add(index)
        units = self._units[index]
        opening = [position for position, unit in enumerate(units) if _says_something(unit)][:_OPENING]
        for place, position in enumerate(opening):
            # In their order.
            values[position] = max(values[position], worth + _FIRST / (1 + place))

    @staticmethod
    def _asked_above(passage: Passage, matcher: Matcher, weights: Mapping[str, float]) -> float:
        """What the passage's own heading holds of the question, if it is nearly all of it."""
        heading = passage.heading.rpartition(SEPARATOR)[2]
        own = matcher.find(heading)
        value = sum(weights[term] for term in own.terms)
        return LEADS * fitting(own, heading) * value if value >= _ASKS * sum(weights.values()) else 0.0

    @property
    def says_something(self) -> bool:
        """Whether there is anything to tell: under a heading that asks the very question there may be no word."""
        return bool(self._chosen)

    def choose(self, length: Length) -> None:
        """Choose the units to tell, and the passages to cite."""
        best = max(self._worth.values(), default=0.0)
        order = sorted(self._worth, key=lambda place: -self._worth[place])
        marked = [place for place in order if self._passages[place[0]].id == SELECTION]
        # It speaks first, and with its beginning where it shares no word with the question.
        order.sort(key=lambda place: place not in marked)
        spoken = marked[:1] if self._passages[0].matched else marked[:2]
        told: Counter[int] = Counter()
        for place in order:
            passage = place[0]
            enough = self._worth[place] >= _ENOUGH * best or place in spoken
            if (
                enough
                and told.total() < length.units
                and told[passage] < length.a_passage
                and self._take(place, length)
            ):
                told[passage] += 1
                self._complete(place, length)
        self._cite()

    def _take(self, place: Place, length: Length) -> bool:
        """Tell the unit at `place` too, if it is new and there is room; whether it is told."""
        if place in self._chosen:
            return True
        unit = self._unit(place)
        size = sum(len(other.text) for other in self._chosen.values())
        passages = {passage for passage, _ in self._chosen} | {place[0]}
        no_room = self._chosen and size + len(unit.text) > length.characters
        if (
            no_room
            or len(passages) > SOURCES_LIMIT
            or any(_alike(unit, other) for other in self._chosen.values())
        ):
            return False
        self._chosen[place] = unit
        return True

    def _unit(self, place: Place) -> Unit:
        return self._units[place[0]][place[1]]

    def _complete(self, place: Place, length: Length) -> None:
        """Take what the unit at `place` cannot do without: what announces it, or what it announces."""
        passage, position = place
        units = self._units[passage]
        unit, after = units[position], units[position + 1 :]
        if unit.kind == "code":
            if position and units[position - 1].kind == "sentence":
                self._take((passage, position - 1), length)
        elif after and after[0].kind == "code":
            self._take((passage, position + 1), length)
        elif unit.text.endswith(":") or (unit.kind == "item" and position == 0 and passage in self._led):
            for further, item in enumerate(after, position + 1):
                if item.kind != "item" or not self._take((passage, further), length):
                    break

    def _cite(self) -> None:
        """The passages that are told, and the best others while there is room; best first."""
        cited = {passage for passage, _ in self._chosen}
        documents = [passage.id.rpartition("-")[0] for passage in self._passages]
        for index, document in enumerate(documents):
            if (
                len(cited) < SOURCES_LIMIT
                and sum(documents[other] == document for other in cited) < A_DOCUMENT
            ):
                cited.add(index)
        # The passage whose part is told first has the marker [1].
        self._cited = sorted(cited, key=lambda index: (-self._best_told(index), index))

    def _best_told(self, passage: int) -> float:
        """What the best unit told of a passage is worth; marked text comes before all else."""
        if self._passages[passage].id == SELECTION:
            return float("inf")
        return max((self._worth[place] for place in self._chosen if place[0] == passage), default=0.0)

    def cited(self) -> tuple[Passage, ...]:
        """The passages that the answer rests on, in the order that its markers count."""
        return tuple(self._passages[index] for index in self._cited)

    def sources(self) -> tuple[Source, ...]:
        """The same, as the visitor sees them."""
        return tuple(self._source(index) for index in self._cited)

    def _source(self, index: int) -> Source:
        passage = self._passages[index]
        places = [place for place in self._chosen if place[0] == index]
        # Where the answer quotes it first, or else where it would have.
        _, start = (
            min(places)
            if places
            else max(self._places(index), key=self._worth.__getitem__, default=(index, 0))
        )
        text = "\n".join(unit.text for unit in self._units[index][start:])
        return Source(
            id=passage.id,
            title=passage.heading,
            url=passage.url,
            excerpt=excerpt(text, EXCERPT_LIMIT),
            score=round(passage.score, 4),
        )

    def _places(self, index: int) -> Iterator[Place]:
        return ((index, position) for position in range(len(self._units[index])))

    def told(self) -> Iterator[str]:
        """The answer in pieces: sentences run on, lists and code stand apart, each passage ends with its marker."""
        before: Place | None = None
        places = sorted(self._chosen, key=lambda place: (self._cited.index(place[0]), place[1]))
        for place, after in zip(places, [*places[1:], None], strict=True):
            unit = self._chosen[place]
            # A marker of the document's own would be taken for one of ours.
            text = unit.text if unit.kind == "code" else _MARKER.sub(r"(\1)", unit.text)
            if not (self._goes_on(before, place) or self._goes_on(place, after)):
                text = text.removeprefix("- ")  # one item is no list
            if after is None or after[0] != place[0]:
                text += ("\n\n" if unit.kind == "code" else " ") + f"[{self._cited.index(place[0]) + 1}]"
            yield self._glue(before, place) + text
            before = place

    def _glue(self, before: Place | None, place: Place) -> str:
        """What stands between two units."""
        if before is None:
            return ""
        if self._goes_on(before, place):
            return "\n" if self._chosen[place].kind == "item" else " "
        return "\n\n"

    def _goes_on(self, place: Place | None, after: Place | None) -> bool:
        """Whether two units are of one list or one paragraph."""
        if place is None or after is None or place[0] != after[0]:
            return False
        kind = self._chosen[place].kind
        return kind == self._chosen[after].kind and kind != "code"


def _is_question(unit: Unit) -> bool:
    return unit.kind == "sentence" and unit.text.endswith("?")


def _says_something(unit: Unit) -> bool:
    """No question, nor a word or two that stand before a paragraph as its title does."""
    return unit.kind == "code" or (not _is_question(unit) and len(unit.text.split()) > _TITLE)


def _is_command(unit: Unit) -> bool:
    return _COMMAND.search(unit.text) is not None and _DRAWING.search(unit.text) is None


def _alike(unit: Unit, other: Unit) -> bool:
    """Whether the two say the same: most of their words are the same."""
    if "code" in (unit.kind, other.kind):
        return unit.text == other.text
    words, others = set(stems(unit.text)), set(stems(other.text))
    return len(words & others) >= _ALIKE * len(words | others) > 0
