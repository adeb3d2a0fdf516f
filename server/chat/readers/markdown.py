"""Markdown (CommonMark with tables), as markdown-it reads it.

Headings get the anchors that GitHub and most site builders give them. Links and images are reduced to their text, HTML
within it to what a reader would see.
"""

import re
from collections import Counter

from markdown_it import MarkdownIt
from markdown_it.token import Token

from .draft import Draft, decoded, one_line, row
from .html import fragment

_FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n(.*?)\n(?:---|\.\.\.)[^\S\n]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[^\S\n]*(.+)$", re.MULTILINE | re.IGNORECASE)
_NOT_IN_SLUG = re.compile(r"[^\w\- ]")


def read(data: bytes) -> Draft:
    """`data` as a document. A `title:` in its front matter names it, or else its first heading."""
    source = decoded(data)
    draft = Draft()
    if front := _FRONT_MATTER.match(source):
        source = source[front.end() :]
        if title := _FRONT_TITLE.search(front[1]):
            draft.title = one_line(title[1].strip().strip("\"'"))
    _Tokens(draft).take(MarkdownIt("commonmark").enable("table").parse(source))
    return draft


class _Tokens:
    """Walks markdown-it's flat list of tokens; nothing here recurses, however deep the document nests."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._slugs: Counter[str] = Counter()
        self._lists: list[int | None] = []  # of each open list: the next number, None for bullets
        self._items: list[str] = []  # finished lines of the outermost open list or table
        self._marker = ""  # what the next line of a list begins with
        self._header: list[str] = []
        self._cells: list[str] = []
        self._in_cell = False
        self._level = 0  # of the heading that is open

    def take(self, tokens: list[Token]) -> None:
        for token in tokens:
            handler = getattr(self, f"_{token.type}", None)
            if handler is not None:
                handler(token)
        self._flush()

    def _flush(self) -> None:
        self._draft.lines(self._items)
        self._items = []

    def _heading_open(self, token: Token) -> None:
        self._flush()
        self._level = int(token.tag[1])

    def _heading_close(self, _token: Token) -> None:
        self._level = 0

    def _bullet_list_open(self, _token: Token) -> None:
        self._lists.append(None)

    def _ordered_list_open(self, token: Token) -> None:
        self._lists.append(int(token.attrGet("start") or 1))

    def _list_item_open(self, _token: Token) -> None:
        number = self._lists[-1]
        if number is None:
            self._marker = "- "
        else:
            self._marker = f"- {number}. "
            self._lists[-1] = number + 1

    def _list_close(self, _token: Token) -> None:
        self._lists.pop()
        self._marker = ""
        if not self._lists:
            self._flush()

    _bullet_list_close = _ordered_list_close = _list_close

    def _tr_open(self, _token: Token) -> None:
        self._cells = []

    def _tr_close(self, _token: Token) -> None:
        if self._header:
            self._items.append(row(self._header, self._cells))
        else:
            self._header = self._cells

    def _table_close(self, _token: Token) -> None:
        self._header = []
        self._flush()

    def _inline(self, token: Token) -> None:
        text = one_line(_text(token.children or []))
        if self._level:
            self._draft.heading(self._level, text, self._anchor(text))
        elif self._in_cell:
            self._cells.append(text)
        elif self._lists:
            self._line(text)
        else:
            self._draft.paragraph(text)

    def _th_open(self, _token: Token) -> None:
        self._in_cell = True

    def _th_close(self, _token: Token) -> None:
        self._in_cell = False

    _td_open, _td_close = _th_open, _th_close

    def _line(self, text: str) -> None:
        """Add `text` to the open list: as an item, or to the item it continues."""
        if not text:
            return
        if self._marker or not self._items:
            self._items.append((self._marker or "- ") + text)
            self._marker = ""
        else:
            self._items[-1] += " " + text

    def _fence(self, token: Token) -> None:
        self._flush()
        language = token.info.split()[0][:20] if token.info.strip() else ""
        self._draft.code(token.content, re.sub(r"[^\w+#.-]", "", language))

    def _code_block(self, token: Token) -> None:
        self._flush()
        self._draft.code(token.content)

    def _html_block(self, token: Token) -> None:
        self._flush()
        for part in fragment(token.content).parts:
            self._draft.parts.append(part)

    def _anchor(self, text: str) -> str:
        """As GitHub makes it: lower case, without punctuation, hyphens for spaces, and a number from the second on."""
        slug = _NOT_IN_SLUG.sub("", text.lower()).strip().replace(" ", "-")
        seen = self._slugs[slug]
        self._slugs[slug] += 1
        return f"{slug}-{seen}" if seen else slug


def _text(children: list[Token]) -> str:
    """What a reader sees of one line of Markdown."""
    seen = []
    for child in children:
        match child.type:
            case "text" | "text_special":
                seen.append(child.content)
            case "code_inline":
                # A doubled fence keeps a backtick within.
                seen.append(f"`` {child.content} ``" if "`" in child.content else f"`{child.content}`")
            case "image":
                seen.append(child.content)
            case "softbreak" | "hardbreak":
                seen.append(" ")
    return "".join(seen)
