"""The process that reads files, one after another, for `ingest`: it may be killed at any moment and nothing is lost.

It is told one file a line on standard input, as JSON, and answers each on standard output with eight bytes, which say how long the answer is, and the answer, as JSON. Its memory is
limited here; its time is limited by whoever started it. Markup that nests without end, a PDF that unpacks to a terabyte, a
bug in a parser written in C: all of them end this process and not the server.
"""

import hashlib
import os
import stat
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import orjson

from server.chat.readers import KINDS, VERSION, read
from server.chat.readers.draft import Unreadable
from server.chat.splitter import split, title_of

MEMORY_BYTES = 1 << 30
"""Address space that reading may take."""
FILE_BYTES = 32 << 20
"""A file larger than this is refused."""
PASSAGES = 20_000
"""A file that would become more passages than this is refused."""


class Order(TypedDict):
    """A file to read; `fingerprint` is that of the version known, or empty."""

    path: str
    fingerprint: str


def fulfil(order: Order) -> dict[str, Any]:
    """One of ``{"unchanged": true}``, ``{"unreadable": reason, "empty": bool}`` and ``{title, kind, fingerprint, parts}``."""
    try:
        return _read(Path(os.fsdecode(bytes.fromhex(order["path"]))), order["fingerprint"])
    except Unreadable as reason:
        return _unreadable(str(reason))
    except OSError as error:
        return _unreadable(f"it cannot be opened: {error.strerror}")
    except MemoryError:
        return _unreadable("reading it takes too much memory")
    except RecursionError:
        return _unreadable("it nests too deeply")
    except Exception as error:  # A parser's bug is one file's failure.
        return _unreadable(f"reading it failed ({type(error).__name__})")


def _unreadable(reason: str, *, empty: bool = False) -> dict[str, Any]:
    return {"unreadable": reason, "empty": empty}


def _read(path: Path, known: str) -> dict[str, Any]:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise Unreadable(f"files of this kind are not read; those that are end in {' '.join(KINDS)}")
    data = _bytes(path)
    fingerprint = f"{hashlib.sha256(data).hexdigest()[:32]}.{VERSION}"
    if fingerprint == known:
        return {"unchanged": True}
    draft = read(kind, data)
    title = title_of(draft, path.stem)
    parts = [(part.heading, part.anchor, part.text) for part in islice(split(draft, title), PASSAGES + 1)]
    if len(parts) > PASSAGES:
        raise Unreadable(f"it would become more than {PASSAGES:,} passages; split it")
    if not parts:
        return _unreadable("it holds no text", empty=True)
    return {"title": title, "kind": kind, "fingerprint": fingerprint, "parts": parts}


def _bytes(path: Path) -> bytes:
    """What the file holds. Never waits for a pipe, never reads a device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise Unreadable("it is not a regular file")
        data = b"" if state.st_size > FILE_BYTES else file.read(FILE_BYTES + 1)
        if state.st_size > FILE_BYTES or len(data) > FILE_BYTES:
            raise Unreadable(f"it is larger than {FILE_BYTES >> 20} MB")
    return data


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))


def main() -> None:
    """Serve until standard input ends."""
    _limit_memory()
    # What a library says on standard output must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        answer = orjson.dumps(fulfil(orjson.loads(line)))
        answers.write(len(answer).to_bytes(8, "big") + answer)
        answers.flush()


if __name__ == "__main__":
    main()
