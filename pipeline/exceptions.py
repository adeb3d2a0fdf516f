"""An exception as fields: what it was, where it came from, and which bug it is.

The fingerprint hashes the types of the whole cause chain and the functions of our own code that it passed through, never
line numbers or messages: the same bug after an edit is the same group, and two users' data do not make two groups.
"""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from .catalogue import Field
from .redact import redacted

EXCEPTION_FIELDS = {
    "exception_type": Field("the exception's type, with its module"),
    "exception_message": Field("its text", free=True),
    "causes": Field("what caused it, nearest first: type and text of each", free=True),
    "frames": Field(
        "the calls it passed through, outermost first: module, function, line, and whether it is ours"
    ),
    "fingerprint": Field("which bug this is: the same for the same cause and path, whatever the data"),
}
"""The catalogue's fields of what `describe` returns."""

MAX_FRAMES = 30
MAX_CAUSES = 8

# Our packages, wherever they are installed, and whatever stands outside the places for libraries.
_OURS = frozenset({"pipeline", "server"})
_LIBRARIES = tuple(
    {
        os.path.realpath(sysconfig.get_path(name)) + os.sep
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
)


def describe(error: BaseException) -> dict[str, Any]:
    """`exception_type`, `exception_message`, `causes`, `frames` (outermost first) and `fingerprint` of `error`."""
    causes = list(_chain(error))
    return {
        "exception_type": _type(error),
        "exception_message": _message(error),
        "causes": [
            {"exception_type": _type(cause), "exception_message": _message(cause)} for cause in causes
        ],
        "frames": _frames(error.__traceback__),
        "fingerprint": fingerprint(error),
    }


def fingerprint(error: BaseException) -> str:
    """12 hex digits that are the same for the same bug."""
    parts: list[str] = []
    for link in (error, *_chain(error)):
        parts.append(_type(link))
        parts += [f"{module}:{function}" for module, function, _, ours in _walk(link.__traceback__) if ours]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:12]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """What caused `error`, nearest first; ends at a cycle."""
    seen = {id(error)}
    cause = _cause(error)
    while cause is not None and id(cause) not in seen and len(seen) <= MAX_CAUSES:
        seen.add(id(cause))
        yield cause
        cause = _cause(cause)


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def _type(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    """The error's text. It is cut after its secrets are gone: half a secret looks like none."""
    try:
        text: str = redacted(str(error))
        return text[:2_000]
    except Exception as failure:
        return f"[a message that cannot be shown: {type(failure).__name__}]"


def _walk(traceback: TracebackType | None) -> Iterator[tuple[str, str, int, bool]]:
    """Module, function, line and whether it is our code, outermost first."""
    while traceback is not None:
        frame = traceback.tb_frame
        path = frame.f_code.co_filename
        module = str(frame.f_globals.get("__name__") or path)
        ours = module.partition(".")[0] in _OURS or not os.path.realpath(path).startswith(("<", *_LIBRARIES))
        yield module, frame.f_code.co_qualname, traceback.tb_lineno, ours
        traceback = traceback.tb_next


def _frames(traceback: TracebackType | None) -> list[dict[str, Any]]:
    frames = [
        {"module": module, "function": function, "line": line, "ours": ours}
        for module, function, line, ours in _walk(traceback)
    ]
    # A recursion's middle says nothing; its ends say where it began and where it broke.
    return (
        frames if len(frames) <= MAX_FRAMES else frames[: MAX_FRAMES // 3] + frames[-(MAX_FRAMES * 2 // 3) :]
    )
