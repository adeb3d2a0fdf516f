"""A log that has been there for long: as many segments as a folder may hold, of as many starts, each closed and indexed."""

from pathlib import Path

from pipeline import index
from pipeline.blocks import BLOCK
from pipeline.record import encode
from pipeline.segments import FIRST_LINE_BYTES, MAX_LIVE, index_of, segment_name

SEGMENTS = MAX_LIVE - 5
"""Room is left for those who write more."""
_LINES = 1_000


def write_old_log(folder: Path, size: int) -> None:
    """Fill `folder` with about `size` bytes of log."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(SEGMENTS):
        boot = f"old{number:03}"
        lines = [_opened(boot), *(_event(boot, seq) for seq in range(2, _LINES))]
        body = b"".join(lines[1:])
        data = lines[0] + body * (size // SEGMENTS // len(body))
        segment = folder / segment_name(1_700_000_000 + number, boot, 1)
        segment.write_bytes(data)
        blocks = (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
        index.save(index.index_blocks(blocks), index_of(segment))


def _opened(boot: str) -> bytes:
    fields = {"event": "segment_opened", "boot": boot, "seq": 1, "padding": ""}
    short = FIRST_LINE_BYTES - len(encode(fields))
    return encode(fields | {"padding": " " * short})


def _event(boot: str, seq: int) -> bytes:
    head = {"timestamp": "2026-01-01T12:34:56.789Z", "level": "INFO", "service": "chatkit-backend"}
    own = {"event": "http_request", "request_id": f"r-{seq:08}", "boot": boot, "seq": seq}
    return encode(head | own | {"path": "/api/v1/chat", "text": "x" * 200})
