"""Documents that the tests make: PDFs as reportlab writes them, and the small library that questions are asked of."""

import io
import shutil
from pathlib import Path

from reportlab.lib.pagesizes import A5
from reportlab.pdfgen.canvas import Canvas

LIBRARY = Path(__file__).parent / "library"

_SAFETY = [
    "Riding safely. On wet planks of the pier, brake early and never in a curve.",
    "The bell must be rung before you overtake. Lights switch on by themselves at dusk.",
    "The largest load of a basket is 12 kilograms.",
]


def pdf(pages: list[str], title: str = "") -> bytes:
    """A PDF with a page for each of `pages`, lines broken at about 60 characters."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A5)
    if title:
        canvas.setTitle(title)
    for page in pages:
        text = canvas.beginText(40, 500)
        for start in range(0, len(page.split()), 10):
            text.textLine(" ".join(page.split()[start : start + 10]))
        canvas.drawText(text)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def library(folder: Path) -> Path:
    """The library, in `folder`: Markdown, HTML, plain text and a PDF."""
    target = folder / "library"
    shutil.copytree(LIBRARY, target)
    (target / "safety.pdf").write_bytes(pdf(_SAFETY, title="Riding safely"))
    return target
