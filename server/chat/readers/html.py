"""HTML, as lexbor parses it: what a reader of the page would see, without its furniture.

Text within `<main>` (or the only `<article>`) is the document; navigation, scripts, forms and what is hidden are not. The walk
follows pointers and never recurses, so depth costs nothing but time, and time is the worker's to limit.
"""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from .draft import Draft, decoded, one_line, row

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_SKIPPED = frozenset(
    "script style noscript template nav aside footer form button select textarea iframe object svg math canvas head title".split()
)
_BLOCKS = frozenset(
    "address article blockquote body caption center dd details dialog div dl dt fieldset figcaption figure header hgroup hr html "
    "li main ol p section summary table tbody td tfoot th thead tr ul".split()
)


def read(data: bytes) -> Draft:
    """`data` as a document; its `<title>` names it."""
    declared = _CHARSET.search(data[:2048])
    return _page(decoded(data, declared[1].decode("ascii") if declared else None))


def fragment(source: str) -> Draft:
    """A piece of HTML, such as one within Markdown, as headings and blocks."""
    return _page(source)


def _page(source: str) -> Draft:
    draft = Draft()
    # lexbor ends a text at the first NUL.
    parser = LexborHTMLParser(source.replace("\0", " "))
    if title := parser.css_first("head > title"):
        draft.title = one_line(title.text())
    root = parser.css_first("main, [role=main]")
    if root is None:
        articles = parser.css("article")
        root = articles[0] if len(articles) == 1 else parser.body
    if root is not None:
        _Walk(draft).take(root)
    return draft


def _steps(root: LexborNode) -> Iterator[tuple[bool, LexborNode]]:
    """Every node under `root` as (True, node) when it opens and (False, node) when it closes, in order.

    What is skipped opens and closes with nothing between.
    """
    node: LexborNode | None = root
    while node is not None:
        yield True, node
        child = None if _hidden(node) else node.child
        if child is not None:
            node = child
            continue
        while True:
            yield False, node
            if node.mem_id == root.mem_id:
                return
            if node.next is not None:
                node = node.next
                break
            parent = node.parent
            if parent is None:
                return
            node = parent


def _hidden(node: LexborNode) -> bool:
    if not node.is_element_node:
        return False
    if node.tag in _SKIPPED or node.tag == "pre":
        return True
    attributes = node.attributes
    return bool(attributes) and ("hidden" in attributes or attributes.get("aria-hidden") == "true")


class _Walk:
    """Gathers text until a block ends, and says what kind of block it was."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._text: list[str] = []
        self._heading: tuple[int, str] | None = None
        self._lists = 0
        self._items: list[str] = []
        self._marker = ""
        self._anchor = ""
        self._header: list[str] = []
        self._cells: list[str] | None = None

    def take(self, root: LexborNode) -> None:
        for opens, node in _steps(root):
            if node.is_text_node:
                if opens:
                    self._text.append(node.text_content or "")
            elif node.is_element_node:
                (self._open if opens else self._close)(node, node.tag or "")
        self._end()
        self._flush()

    def _open(self, node: LexborNode, tag: str) -> None:
        if tag == "pre" and self._heading is None:
            self._end()
            self._flush()
            self._draft.code(node.text())
        elif _hidden(node):
            return
        elif tag in _HEADINGS:
            self._end()
            self._flush()
            self._heading = (_HEADINGS[tag], _identity(node) or self._anchor)
            self._anchor = ""
        elif tag == "br":
            self._text.append(" ")
        elif tag == "code":
            self._text.append("`")
        elif tag == "img":
            self._text.append(f" {node.attributes.get('alt') or ''} ")
        elif tag in _BLOCKS:
            self._open_block(node, tag)

    def _open_block(self, node: LexborNode, tag: str) -> None:
        self._end()
        if tag in ("section", "article", "div"):
            self._anchor = _identity(node) or self._anchor
        elif tag in ("ul", "ol"):
            self._lists += 1
        elif tag == "li":
            self._marker = "- "
        elif tag == "table":
            self._flush()
        elif tag == "tr":
            self._cells = []

    def _close(self, node: LexborNode, tag: str) -> None:
        if tag == "code" and not _hidden(node):
            self._text.append("`")
        elif tag in _HEADINGS and self._heading is not None:
            level, anchor = self._heading
            self._draft.heading(level, "".join(self._text), anchor)
            self._text, self._heading = [], None
        elif tag in _BLOCKS and not _hidden(node):
            self._close_block(node, tag)

    def _close_block(self, node: LexborNode, tag: str) -> None:
        if tag in ("td", "th") and self._cells is not None:
            self._cells.append(self._taken())
        else:
            self._end()
        if tag in ("ul", "ol"):
            self._lists = max(0, self._lists - 1)
            if not self._lists:
                self._flush()
        elif tag == "tr" and self._cells is not None:
            self._row(node, self._cells)
            self._cells = None
        elif tag == "table":
            self._header = []
            self._flush()

    def _taken(self) -> str:
        text = one_line("".join(self._text).replace("``", ""))
        self._text = []
        return text

    def _end(self) -> None:
        """The block is over: its text is a paragraph, a list's item, or part of a heading or cell that goes on."""
        if self._heading is not None or self._cells is not None:
            self._text.append(" ")
            return
        text = self._taken()
        if not text:
            return
        if not self._lists:
            self._draft.paragraph(text)
        elif self._marker or not self._items:
            self._items.append((self._marker or "- ") + text)
            self._marker = ""
        else:
            self._items[-1] += " " + text

    def _row(self, node: LexborNode, cells: list[str]) -> None:
        if not self._header and node.css_first("td") is None:
            self._header = cells
        else:
            self._items.append(row(self._header, cells))

    def _flush(self) -> None:
        self._draft.lines(self._items)
        self._items = []


def _identity(node: LexborNode) -> str:
    """The anchor that leads to `node`: its own, or that of the first element within a heading."""
    found: LexborNode | None = node
    if not node.attributes.get("id") and node.tag in _HEADINGS:
        found = node.css_first("a[id], a[name], span[id]")
    attributes = found.attributes if found is not None else {}
    return (attributes.get("id") or attributes.get("name") or "").strip()[:200]
