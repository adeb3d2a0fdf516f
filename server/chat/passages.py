"""A passage, and how it is taken apart: into the sentences, items and blocks of code that an answer is put together of."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .sentences import sentences

SEPARATOR = " \u203a "
"""What stands between the headings above a passage."""

Kind = Literal["sentence", "item", "code"]

_FENCE = re.compile(r"^(`{3,})([^\n`]*)\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)
_MARKS = re.compile(r"^`{3,}.*$|^- ", re.MULTILINE)
# Where a long listing may be parted: at a blank line, or before a comment.
_STANZA = re.compile(r"\n\s*\n|\n(?=(?:#|//|--) )")
_LONG_LISTING = 400
"""Characters; a shorter block of code is one unit."""
_LONG_ITEM = 240
"""Characters; a shorter item of a list is one unit."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document that bears on a question.

    `heading` is the document's title and the headings above it; `text` is light Markdown; `score` is 0-1; `matched` holds the
    stems of the question's words that it holds, each with what it weighs; `nearness` is what it scores for what it means alone, 0 when
    it was not found by that.
    """

    id: str
    heading: str
    url: str
    text: str
    score: float = 0.0
    matched: Mapping[str, float] = field(default_factory=dict)
    nearness: float = 0.0


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest part of a passage that can be quoted."""

    kind: Kind
    text: str


def taken_apart(text: str) -> list[Unit]:
    """The units of `text` (light Markdown), in order."""
    return [Unit(kind, piece) for kind, piece in _pieces(text)]


def excerpt(text: str, limit: int) -> str:
    """The beginning of `text` on one line, without marks of lists and code, in at most `limit` characters."""
    plain = " ".join(_MARKS.sub("", text).split())
    if len(plain) <= limit:
        return plain
    cut = plain[: limit - 1]
    # At a word, unless the last word is as good as all there is.
    return (cut.rpartition(" ")[0] if " " in cut[limit // 2 :] else cut).rstrip(" ,;:") + "…"


def _pieces(text: str) -> Iterator[tuple[Kind, str]]:
    start = 0
    if "```" in text:
        for fence in _FENCE.finditer(text):
            yield from _prose(text[start : fence.start()])
            yield from _listing(fence)
            start = fence.end()
    yield from _prose(text[start:])


def _listing(fence: re.Match[str]) -> Iterator[tuple[Kind, str]]:
    """A block of code: whole, or a long one in stanzas, each between fences of its own."""
    if len(fence[0]) <= _LONG_LISTING:
        yield "code", fence[0]
        return
    for stanza in _STANZA.split(fence[3]):
        if stanza.strip():
            yield "code", f"{fence[1]}{fence[2]}\n{stanza.strip(chr(10))}\n{fence[1]}"


def _prose(text: str) -> Iterator[tuple[Kind, str]]:
    for line in text.split("\n"):
        item = line.startswith("- ")
        if item and len(line) <= _LONG_ITEM:
            yield "item", line
        elif line:
            # A paragraph that stands in a list is as good as any other.
            for sentence in sentences(line.removeprefix("- ") if item else line):
                yield "sentence", sentence
