"""The documents as the tests read them: their blocks, headings, links and the names they mention."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "widget" / "README.md"],
    key=lambda path: path.as_posix(),
)

_DIRECTIVE = re.compile(r"<!-- (?P<name>[a-z]+): (?P<value>[a-z0-9 -]+?) -->")
_NOT_IN_SLUG = re.compile(r"[^\w\- ]")


class Block(NamedTuple):
    """A fenced block: where it begins, its kind, the directive in the comment before it, and what it holds."""

    page: Path
    line: int
    kind: str
    directive: tuple[str, str] | None
    text: str

    @property
    def place(self) -> str:
        """Such as `docs/API.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


class Link(NamedTuple):
    """A link or an image: its target as written."""

    page: Path
    line: int
    target: str


def tokens(page: Path) -> list[Token]:
    """`page` as markdown-it reads it."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of `page`, in order."""
    directive = None
    for token in tokens(page):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block":
            found = _DIRECTIVE.fullmatch(token.content.strip())
            directive = (found["name"], found["value"]) if found else None
            continue
        if token.type in {"fence", "code_block"}:
            yield Block(page, line, token.info.strip(), directive, token.content)
        if not token.type.endswith("_open"):
            directive = None


def headings(page: Path) -> list[tuple[int, str]]:
    """Level and text of each heading of `page`, in order."""
    found = tokens(page)
    return [
        (int(token.tag[1]), found[index + 1].content)
        for index, token in enumerate(found)
        if token.type == "heading_open"
    ]


def anchors(page: Path) -> set[str]:
    """What may follow `#` in a link to `page`, made as GitHub makes it."""
    seen: Counter[str] = Counter()
    result = set()
    for _, text in headings(page):
        slug = _NOT_IN_SLUG.sub("", text.lower()).replace(" ", "-")
        result.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return result


def links(page: Path) -> Iterator[Link]:
    """Every link and image of `page`."""
    for token, line in _inline(page):
        target = token.attrGet("href") or token.attrGet("src")
        if target is not None:
            yield Link(page, line, str(target))


def code(page: Path) -> Iterator[tuple[int, str]]:
    """Every `span of code` of `page`, with its line."""
    for token, line in _inline(page):
        if token.type == "code_inline":
            yield line, token.content


def _inline(page: Path) -> Iterator[tuple[Token, int]]:
    for token in tokens(page):
        for child in token.children or []:
            yield child, token.map[0] + 1 if token.map else 0
