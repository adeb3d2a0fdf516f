"""Plain text: paragraphs are what blank lines part; indented stretches keep their lines."""

import re

from .draft import Draft, decoded

_ITEM = re.compile(r"\s*(?:[-*\u2022\u2013]|\d{1,3}[.)])\s+")


def read(data: bytes) -> Draft:
    """`data` (UTF-8, or UTF-16 with a byte order mark) as a document without headings."""
    draft = Draft()
    for block in _blocks(decoded(data)):
        lines = block.split("\n")
        if all(line.startswith(("    ", "\t")) for line in lines):
            draft.code("\n".join(line[4:] if line.startswith("    ") else line[1:] for line in lines))
        elif len(lines) > 1 and _ITEM.match(lines[0]):
            draft.lines(_items(lines))
        else:
            draft.paragraph(block)
    return draft


def _blocks(text: str) -> list[str]:
    """The stretches of `text` between blank lines."""
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return ["\n".join(lines) for lines in blocks if lines]


def _items(lines: list[str]) -> list[str]:
    """A list's items, each on one line, whatever marks them."""
    items: list[str] = []
    for line in lines:
        if mark := _ITEM.match(line):
            items.append("- " + line[mark.end() :].strip())
        else:
            items[-1] += " " + line.strip()
    return items
