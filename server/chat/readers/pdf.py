"""PDF, as pypdf reads it: the text of each page, as far as the file holds text and not pictures of it.

A page is a section without a heading whose anchor opens the file there (`#page=3`). Lines are joined to paragraphs, words that
were parted at a line's end are whole again.
"""

import io
import re

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from .draft import Draft, Heading, Unreadable, one_line

PAGES = 2_000
"""A file of more pages than this is refused."""
CHARACTERS = 5_000_000
"""A file with more text than this is refused."""

_PARTED = re.compile(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])")
_PARAGRAPH = re.compile(r"\n\s*\n|(?<=[.!?:])\n(?=[A-Z•\-\d])")


def read(data: bytes) -> Draft:
    """`data` as a document; the title in its metadata names it."""
    try:
        return _draft(PdfReader(io.BytesIO(data), strict=False))
    except PyPdfError as error:
        raise Unreadable(
            f"it is not a sound PDF: {one_line(str(error))[:120] or type(error).__name__}"
        ) from error
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        # What a damaged file makes the library do.
        raise Unreadable(f"it is not a sound PDF ({type(error).__name__})") from error


def _draft(reader: PdfReader) -> Draft:
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("it is protected by a password")
    draft = Draft(title=_title(reader))
    if len(reader.pages) > PAGES:
        raise Unreadable(f"it has more than {PAGES:,} pages; split it")
    size = 0
    for number, page in enumerate(reader.pages, 1):
        text = page.extract_text()
        size += len(text)
        if size > CHARACTERS:
            raise Unreadable(f"it holds more than {CHARACTERS:,} characters; split it")
        draft.parts.append(Heading(1, "", f"page={number}"))
        for paragraph in _PARAGRAPH.split(_PARTED.sub("", text)):
            draft.paragraph(paragraph)
    return draft


def _title(reader: PdfReader) -> str:
    """The title in the file's metadata, unless it is what a word processor puts there by itself."""
    title = reader.metadata.title if reader.metadata else None
    text = one_line(title) if isinstance(title, str) else ""
    return "" if text.lower().startswith(("untitled", "microsoft word - ", "(anonymous)")) else text
