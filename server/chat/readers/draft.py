"""What every reader makes of a file: a title and a row of headings and blocks, in light Markdown.

Light Markdown is the form in which passages are kept and answers are given: paragraphs, lists whose items begin with
`- `, and code between fences. Emphasis, links and images are reduced to their text.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass, field
from typing import Literal

from server.chat.words import printable

_SPACES = re.compile(r"\s+")
_BACKTICKS = re.compile(r"`{3,}")


class Unreadable(Exception):
    """The file cannot be ingested; the message is the reason, for the file's owner."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: `level` is 1 for the highest; `anchor` is the fragment that leads to it, or empty."""

    level: int
    text: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of text that belongs together."""

    kind: Literal["paragraph", "list", "code"]
    text: str


@dataclass(slots=True)
class Draft:
    """A document as read. `title` is empty when the file does not name one."""

    title: str = ""
    parts: list[Heading | Block] = field(default_factory=list)

    def heading(self, level: int, text: str, anchor: str = "") -> None:
        """Add a heading, unless it is empty."""
        if text := one_line(text):
            self.parts.append(Heading(level, text, anchor))

    def paragraph(self, text: str) -> None:
        """Add a paragraph, unless it is empty."""
        if text := one_line(text):
            self.parts.append(Block("paragraph", text))

    def lines(self, lines: list[str]) -> None:
        """Add the items of a list or the rows of a table."""
        if kept := [line for line in map(one_line, lines) if line.strip("- ")]:
            self.parts.append(Block("list", "\n".join(kept)))

    def code(self, text: str, language: str = "") -> None:
        """Add a block of code, unless it is empty."""
        text = printable(text.expandtabs(4)).strip("\n").rstrip()
        if text.strip():
            self.parts.append(Block("code", fenced(text, language)))


def one_line(text: str) -> str:
    """`text` without line ends, repeated spaces and what cannot be shown."""
    return _SPACES.sub(" ", printable(text)).strip()


def fenced(code: str, language: str = "") -> str:
    """`code` between fences that it does not itself hold."""
    fence = "`" * max((len(run) + 1 for run in _BACKTICKS.findall(code)), default=3)
    return f"{fence}{language}\n{code}\n{fence}"


def row(header: list[str], cells: list[str]) -> str:
    """One row of a table as a line that is understood without the rows around it."""
    if len(cells) < 3 or len(header) != len(cells):
        return "- " + ": ".join(cell for cell in cells if cell)
    named = [
        f"{name}: {cell}" if name else cell for name, cell in zip(header[1:], cells[1:], strict=True) if cell
    ]
    return f"- {cells[0]} \u2013 " + "; ".join(named)


def decoded(data: bytes, declared: str | None = None) -> str:
    """`data` as text: by its byte order mark, as `declared`, or as UTF-8. Raises ``Unreadable``."""
    if data.startswith(BOM_UTF8):
        encoding = "utf-8-sig"
    elif data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = declared or "utf-8"
    try:
        text = data.decode(encoding)
    except LookupError:
        raise Unreadable(f"it says that its encoding is {encoding[:40]!r}, which is unknown") from None
    except UnicodeError:
        raise Unreadable(f"its bytes are not {encoding}; save it as UTF-8") from None
    if text.count("\0") * 10 > len(text):
        raise Unreadable("it holds binary data, not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")
