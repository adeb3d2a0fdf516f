"""Files made to break a reader: each is read or refused within limits, and the one after it is read as ever."""

import resource
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from server.chat.ingest import ingest
from server.chat.readers import worker
from server.chat.reading import ReaderProcess
from server.store.engine import Store
from tests.shared import naughty_strings

SECONDS = 4.0


def _pdf(content: bytes, *, pages: int = 1, extra: bytes = b"") -> bytes:
    """A PDF of `pages` pages that share one compressed content stream."""
    kids = b" ".join(b"%d 0 R" % (10 + number) for number in range(pages))
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [%b] /Count %d %b >>" % (kids, pages, extra),
        3: b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(content), content),
        4: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    for number in range(pages):
        objects[10 + number] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 3 0 R /Resources << /Font << /F 4 0 R >> >> >>"
        )
    body = bytearray(b"%PDF-1.4\n")
    places = {}
    for number, text in objects.items():
        places[number] = len(body)
        body += b"%d 0 obj\n%b\nendobj\n" % (number, text)
    start = len(body)
    body += b"xref\n0 1\n0000000000 65535 f \n"
    for number, place in places.items():
        body += b"%d 1\n%010d 00000 n \n" % (number, place)
    body += b"trailer << /Root 1 0 R /Size %d >>\nstartxref\n%d\n%%%%EOF" % (10 + pages, start)
    return bytes(body)


def _bomb(size: int) -> bytes:
    """Nothing but zeros, `size` bytes of them, twice compressed by a thousand."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "deep.html": lambda: b"<div>" * 200_000 + b"text",
    "unclosed.html": lambda: b"<b><i>" * 100_000,
    "table.html": lambda: b"<table><tr><td>" * 20_000 + b"text",
    "attributes.html": lambda: b"<p " + b"a=1 " * 500_000 + b">text",
    "entities.html": lambda: b"<p>" + b"&amp;" * 400_000,
    "comment.html": lambda: b"<!--" * 200_000,
    "quotes.md": lambda: b">" * 100_000 + b" text",
    "brackets.md": lambda: b"[" * 100_000,
    "links.md": lambda: b"[a](" * 50_000,
    "stars.md": lambda: b"*a _b " * 50_000,
    "backticks.md": lambda: b"".join(b"`" * number + b" " for number in range(1_500)),
    "lists.md": lambda: b"".join(b" " * number + b"- x\n" for number in range(2_000)),
    "fences.md": lambda: b"```\n" * 100_000,
    "table.md": lambda: b"|" * 5_000 + b"\n" + b"|-" * 5_000 + b"\n" + b"|x" * 5_000,
    "line.txt": lambda: b"x" * 5_000_000,
    "lines.txt": lambda: b"\n" * 5_000_000,
    "spaces.txt": lambda: b"a" + b" " * 3_000_000 + b"b",
    "items.txt": lambda: b"- x\n" * 500_000,
    "nul.txt": lambda: b"some text\0" * 100_000,
    "controls.txt": lambda: bytes(range(1, 128)) * 1_000,
    "bom.txt": lambda: b"\xff\xfe",
    "bomb.pdf": lambda: _pdf(_bomb(1 << 28)),
    "pages.pdf": lambda: _pdf(zlib.compress(b"BT /F 9 Tf (text) Tj ET"), pages=3_000),
    "operators.pdf": lambda: _pdf(zlib.compress(b"BT /F 9 Tf " + b"(text) Tj " * 2_000_000)),
    "loop.pdf": lambda: _pdf(zlib.compress(b""), extra=b"/Parent 2 0 R").replace(
        b"/Kids [10 0 R]", b"/Kids [2 0 R]"
    ),
    "claims.pdf": lambda: _pdf(zlib.compress(b""), extra=b"/Lies true").replace(
        b"/Count 1", b"/Count 999999999"
    ),
    "nested.pdf": lambda: (
        b"%PDF-1.4\n1 0 obj\n" + b"[" * 200_000 + b"\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_file_is_read_or_refused_and_the_next_one_is_read(
    store: Store, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name]())
    (tmp_path / "after.md").write_text("about badgers")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    report = await ingest(store, [tmp_path / name, tmp_path / "after.md"], seconds=SECONDS)

    assert report.added == 2 - report.failed
    assert report.failed <= 1
    for failure in report.failures:
        assert failure.path.endswith(name)
        assert 10 < len(failure.reason) < 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes, of this process


async def test_the_readers_memory_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("text")
    async with ReaderProcess() as reader:
        await reader.read(tmp_path / "a.md", "")
        assert reader._process is not None
        limits = Path(f"/proc/{reader._process.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert int(line.split()[3]) == worker.MEMORY_BYTES


async def test_every_naughty_string_can_be_a_document(store: Store, tmp_path: Path) -> None:
    for number, text in enumerate(naughty_strings()):
        (tmp_path / f"{number:03}.md").write_text(f"walrus{number} {text}")
        (tmp_path / f"{number:03}.html").write_text(f"<p>walrus{number} <b>{text}")
        (tmp_path / f"{number:03}.txt").write_text(f"walrus{number} {text}")
    report = await ingest(store, [tmp_path])
    assert report.failed == 0
    assert report.added == 3 * len(naughty_strings())
