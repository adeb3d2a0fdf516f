"""An answer without a language model: the sentences that bear on the question, as they stand, each with its source.

A passage is a row of units: sentences, items of a list, rows of a table, blocks of code. A unit is worth the question's words
that it holds, by their weight, helped by the headings above it and by how well its passage fits; a command that answers
"how" stays with the sentence that leads to it. What a visitor marked on the page comes first and is never left out.

When nothing reaches `THRESHOLD` the answer says that the documents do not hold it, and cites nothing.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .answer import Cited, Piece, Text
from .models import EXCERPT_LIMIT, SOURCES_LIMIT, Mode, Question, Source
from .retrieval import Passage, ranked
from .sentences import sentences
from .words import stems, terms

MODEL = "extractive"

THRESHOLD = 0.25
"""The least score of the best passage for an answer; how it was chosen: `tests/server/chat/test_quality.py`."""
NEAR = 0.6
"""A passage is cited if its score is at least this much of the best one's."""
A_DOCUMENT = 2
"""At most this many of the sources come from one document."""

NO_ANSWER = "The documents do not hold an answer to that."

SELECTION = "selection"
_SELECTION_TITLE = "Selected text"

_FENCE = re.compile(r"(`{3,})[^\n`]*\n.*?\n\1(?=\n|\Z)", re.DOTALL)
_MARKER = re.compile(r"\[(\d{1,3})\]")
_ASKS_HOW = re.compile(r"\b(how|command|run|start|which command|steps?)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Length:
    """How long an answer may be: units in all, units of one passage, and characters."""

    units: int
    a_passage: int
    characters: int


LENGTHS: Mapping[Mode, Length] = {Mode.BROWSE: Length(2, 2, 400), Mode.CHAT: Length(5, 3, 900)}


@dataclass(frozen=True, slots=True)
class _Unit:
    passage: int
    position: int
    kind: str  # sentence, item or code
    text: str
    words: frozenset[str]
    worth: float = 0.0


class ExtractiveAnswerer:
    """Answers in the documents' own words."""

    model = MODEL

    async def answer(self, question: Question, passages: Sequence[Passage]) -> AsyncGenerator[Piece]:
        """See `Answerer`."""
        cited = _cited(passages)
        if question.selected_text:
            cited = [_selection(question, cited), *cited][:SOURCES_LIMIT]
        if not cited:
            yield Cited(())
            yield Text(NO_ANSWER)
            return
        units = _weighed(question, cited)
        chosen = _chosen(units, cited, LENGTHS[question.mode])
        yield Cited(
            tuple(_source(passage, _first(chosen, index, units)) for index, passage in enumerate(cited))
        )
        for text in _told(chosen):
            yield Text(text)


def _cited(passages: Sequence[Passage]) -> list[Passage]:
    """The passages that an answer may rest on, best first; none when the best one hardly bears on the question."""
    if not passages or passages[0].score < THRESHOLD:
        return []
    kept: list[Passage] = []
    documents: dict[str, int] = {}
    for passage in passages:
        document = passage.id.rpartition("-")[0]
        if passage.score >= NEAR * passages[0].score and documents.get(document, 0) < A_DOCUMENT:
            documents[document] = documents.get(document, 0) + 1
            kept.append(passage)
    return kept[:SOURCES_LIMIT]


def _selection(question: Question, others: Sequence[Passage]) -> Passage:
    """What the visitor marked, as a passage: it is the context whatever it holds, so it scores 1."""
    weights = {term: weight for passage in others for term, weight in passage.matched.items()}
    for term in terms(question.message, 24):
        weights.setdefault(term, 1.0)
    passage = Passage(SELECTION, _SELECTION_TITLE, question.page_url, question.selected_text, 1.0)
    found = ranked([passage], weights)
    return replace(passage, matched=found[0].matched if found else {})


def _units(index: int, passage: Passage) -> Iterator[_Unit]:
    """`passage`, taken apart, in order."""
    position = 0
    for kind, text in _pieces(passage.text):
        yield _Unit(index, position, kind, text, frozenset(stems(text)))
        position += 1


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    start = 0
    for fence in _FENCE.finditer(text):
        yield from _prose(text[start : fence.start()])
        yield "code", fence[0]
        start = fence.end()
    yield from _prose(text[start:])


def _prose(text: str) -> Iterator[tuple[str, str]]:
    for block in text.split("\n\n"):
        for line in block.strip().split("\n"):
            if line.startswith("- "):
                yield "item", line
            else:
                for sentence in sentences(line):
                    yield "sentence", sentence


def _weighed(question: Question, cited: Sequence[Passage]) -> list[_Unit]:
    """Every unit of `cited` with what it is worth."""
    weights = {term: weight for passage in cited for term, weight in passage.matched.items()}
    total = sum(weights.values()) or 1.0
    how = bool(_ASKS_HOW.search(question.message))
    units = []
    for index, passage in enumerate(cited):
        headings = frozenset(stems(passage.heading))
        asked = 0.0  # what a question within the text is worth goes to the sentence after it
        for unit in _units(index, passage):
            held = sum(weight for term, weight in weights.items() if term in unit.words)
            above = sum(
                weight for term, weight in weights.items() if term in headings and term not in unit.words
            )
            worth = (held + 0.35 * above) / total
            if how and (unit.kind == "code" or "`" in unit.text):
                worth += 0.1
            worth += 0.05 / (1 + unit.position)
            worth = max(worth * (0.5 + 0.5 * passage.score / max(cited[0].score, passage.score)), asked)
            if unit.kind == "sentence" and unit.text.endswith("?"):
                worth, asked = worth * 0.3, worth
            else:
                asked = 0.0
            units.append(replace(unit, worth=worth))
    return units


def _chosen(units: Sequence[_Unit], cited: Sequence[Passage], length: Length) -> list[_Unit]:
    """The units that make the answer, in the order in which it tells them."""
    places = {(unit.passage, unit.position): unit for unit in units}
    chosen: dict[tuple[int, int], _Unit] = {}
    size = 0

    def take(unit: _Unit) -> bool:
        nonlocal size
        place = (unit.passage, unit.position)
        if place in chosen:
            return True
        if chosen and size + len(unit.text) > length.characters:
            return False
        if any(_alike(unit, other) for other in chosen.values()):
            return False
        chosen[place] = unit
        size += len(unit.text)
        return True

    best = max((unit.worth for unit in units), default=0.0)
    order = sorted(units, key=lambda unit: (-unit.worth, unit.passage, unit.position))
    if cited[0].id == SELECTION:
        # What was marked speaks first, even where it shares no word with the question.
        order.sort(key=lambda unit: unit.passage != 0)
    counts: dict[int, int] = {}
    for unit in order:
        if len(chosen) >= length.units:
            break
        is_marked = cited[unit.passage].id == SELECTION
        if chosen and unit.worth < 0.6 * best and not (is_marked and len(chosen) < 2):
            continue
        if counts.get(unit.passage, 0) >= length.a_passage or not take(unit):
            continue
        counts[unit.passage] = counts.get(unit.passage, 0) + 1
        _complete(unit, places, take)
    return sorted(chosen.values(), key=lambda unit: (unit.passage, unit.position))


def _complete(unit: _Unit, places: Mapping[tuple[int, int], _Unit], take: Callable[[_Unit], bool]) -> None:
    """Add what `unit` cannot do without: what it announces, or what announces it."""
    before = places.get((unit.passage, unit.position - 1))
    after = places.get((unit.passage, unit.position + 1))
    if unit.kind == "code" and before is not None and before.kind == "sentence":
        take(before)
    if after is not None and unit.kind == "sentence":
        if after.kind == "code":
            take(after)
        elif unit.text.endswith(":"):
            position = unit.position + 1
            while (
                (item := places.get((unit.passage, position))) is not None
                and item.kind == "item"
                and take(item)
            ):
                position += 1


def _alike(unit: _Unit, other: _Unit) -> bool:
    """Whether the two say the same: most of their words are the same."""
    if unit.kind == "code" or other.kind == "code":
        return unit.text == other.text
    together = len(unit.words | other.words)
    return together > 0 and len(unit.words & other.words) / together > 0.7


def _told(chosen: Sequence[_Unit]) -> Iterator[str]:
    """The answer in pieces: sentences run on, lists and code stand apart, and each passage ends with its marker."""
    previous: _Unit | None = None
    for index, unit in enumerate(chosen):
        text = unit.text if unit.kind == "code" else _MARKER.sub(r"(\1)", unit.text)
        following = chosen[index + 1] if index + 1 < len(chosen) else None
        glue = ""
        if previous is not None:
            if previous.passage != unit.passage or "code" in (previous.kind, unit.kind):
                glue = "\n\n"
            elif unit.kind == "item":
                glue = "\n" if previous.kind == "item" else "\n\n"
            else:
                glue = "\n\n" if previous.kind == "item" else " "
        ends = following is None or following.passage != unit.passage
        marker = ("\n\n" if unit.kind == "code" else " ") + f"[{unit.passage + 1}]" if ends else ""
        yield glue + text + marker
        previous = unit


def _first(chosen: Sequence[_Unit], index: int, units: Sequence[_Unit]) -> str:
    """Where the excerpt of passage `index` begins: what the answer took of it, or its best unit."""
    own = [unit for unit in chosen if unit.passage == index]
    if own:
        return own[0].text
    return max((unit for unit in units if unit.passage == index), key=lambda unit: unit.worth).text


def _source(passage: Passage, start: str) -> Source:
    text = passage.text[max(passage.text.find(start), 0) :]
    return Source(
        id=passage.id,
        title=passage.heading,
        url=passage.url,
        excerpt=excerpt(text),
        score=round(passage.score, 4),
    )


def excerpt(text: str, limit: int = EXCERPT_LIMIT) -> str:
    """The beginning of `text` on one line, without fences, in at most `limit` characters, cut at a word."""
    plain = " ".join(re.sub(r"^`{3,}.*$|^- ", "", text, flags=re.MULTILINE).split())
    if len(plain) <= limit:
        return plain
    cut = plain[: limit - 1]
    return (cut.rpartition(" ")[0] if " " in cut[limit // 2 :] else cut).rstrip(" ,;:") + "…"
