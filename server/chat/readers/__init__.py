"""From a file's bytes to headings and blocks of text: one reader a kind of file, none of which trusts the file.

A reader returns a `Draft` or raises `Unreadable` with a reason that tells its owner what to do. Readers may be slow or
crash on a hostile file: they run in a process of their own (`worker`), within limits of time and memory.
"""

from importlib import import_module

from .draft import Draft

VERSION = "1"
"""Raise it when a reader or the splitter changes: every document is then read again."""

KINDS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".txt": "text",
    ".text": "text",
    ".pdf": "pdf",
}
"""What the end of a file's name says it is, in lower case."""


def read(kind: str, data: bytes) -> Draft:
    """`data` as a document. `kind` is one of the values of `KINDS`. Raises ``Unreadable``."""
    # Each reader's library is imported when the first file of its kind comes.
    draft: Draft = import_module(f"{__name__}.{kind}").read(data)
    return draft
