"""From a draft to passages: parts of a size that one question is answered by, each under its headings.

A passage never crosses a heading. Within a section, blocks are put together until a passage is about `TARGET` characters;
what is longer than `LONGEST` is cut at sentences, lines, or, at last, words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .passages import SEPARATOR
from .readers.draft import Block, Draft, Heading, fenced
from .sentences import sentences

TARGET = 800
"""Characters; about 130 words."""
LONGEST = 1_400
"""No passage has more characters than this."""
HEADING_LIMIT = 200

_FENCE = re.compile(r"(`{3,})([^\n`]*)\n(.*)\n\1\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """A passage before it is stored: its headings from the title down, the fragment that leads to it, and its text."""

    heading: str
    anchor: str
    text: str


def title_of(draft: Draft, name: str) -> str:
    """What the document calls itself: its title, its first heading, or the name of its file (without its end)."""
    first = next((part.text for part in draft.parts if isinstance(part, Heading) and part.text), "")
    readable = re.sub(r"[-_\s]+", " ", name).strip()
    return _short(draft.title or first or readable or "Untitled")


def split(draft: Draft, title: str) -> Iterator[Part]:
    """The passages of `draft`, in order; none when it holds no text."""
    above: list[Heading] = []
    section: list[str] = []

    def part(text: str) -> Part:
        names = [title, *(heading.text for heading in above if heading.text)]
        if len(names) > 1 and names[1].casefold() == title.casefold():
            del names[1]
        anchor = next((heading.anchor for heading in reversed(above) if heading.anchor), "")
        return Part(_short(SEPARATOR.join(map(_short, names)), 3 * HEADING_LIMIT), anchor, text)

    for index, item in enumerate(draft.parts):
        if isinstance(item, Heading):
            yield from map(part, _packed(section))
            section = []
            while above and above[-1].level >= item.level:
                above.pop()
            above.append(item)
            if item.text and _is_leaf(draft, index):
                yield part(item.text)
        else:
            section.extend(_cut(item))
    yield from map(part, _packed(section))


def _is_leaf(draft: Draft, index: int) -> bool:
    """Whether nothing stands under the heading at `index`: then the heading itself is all there is to find."""
    heading, following = draft.parts[index], draft.parts[index + 1 : index + 2]
    assert isinstance(heading, Heading)
    return not following or (isinstance(following[0], Heading) and following[0].level <= heading.level)


def _packed(blocks: list[str]) -> Iterator[str]:
    """`blocks` put together to about `TARGET` characters each, or `LONGEST` where they belong together."""
    together: list[str] = []
    size = 0
    for block in blocks:
        # A list or a command is of little use without the sentence that leads to it.
        room = LONGEST if block.startswith(("```", "- ")) else TARGET
        if together and size + len(block) > room:
            yield "\n\n".join(together)
            together, size = [], 0
        together.append(block)
        size += len(block) + 2
    if together:
        yield "\n\n".join(together)


def _cut(block: Block) -> Iterator[str]:
    """`block` in pieces of at most `LONGEST` characters; almost always one."""
    if len(block.text) <= LONGEST:
        yield block.text
    elif block.kind == "code" and (code := _FENCE.fullmatch(block.text)):
        room = LONGEST - 2 * len(code[1]) - len(code[2]) - 2
        for piece in _filled(code[3].split("\n"), "\n", room):
            yield fenced(piece, code[2])
    elif block.kind == "list":
        yield from _filled(block.text.split("\n"), "\n", LONGEST)
    else:
        yield from _filled(sentences(block.text), " ", TARGET)


def _filled(pieces: list[str], glue: str, room: int) -> Iterator[str]:
    """`pieces` joined by `glue` while they fit in `room` characters; a piece that does not fit alone is cut at words."""
    line = ""
    for piece in pieces:
        for fitting in _words(piece, room):
            if line and len(line) + len(glue) + len(fitting) > room:
                yield line
                line = ""
            line = f"{line}{glue}{fitting}" if line else fitting
    if line.strip():
        yield line


def _words(piece: str, room: int) -> Iterator[str]:
    while len(piece) > room:
        at = piece.rfind(" ", room // 2, room)
        at = at if at > 0 else room
        yield piece[:at]
        piece = piece[at:].lstrip(" ")
    yield piece


def _short(text: str, limit: int = HEADING_LIMIT) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
