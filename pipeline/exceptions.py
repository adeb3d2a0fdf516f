"""An exception as fields: what it was, where it came from, and which bug it is.

The fingerprint hashes the types of the whole cause chain and the functions of our own code that it passed through, never
line numbers or messages: the same bug after an edit is the same group, and two users' data do not make two groups. What a
group of exceptions holds comes in the order in which it failed, which is chance, so its order and its number do not count.
"""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple

from .catalogue import Field
from .redact import redacted

EXCEPTION_FIELDS = {
    "exception_type": Field("the exception's type, with its module"),
    "exception_message": Field("its text", free=True),
    "causes": Field(
        "what caused it, nearest first, and what a group of exceptions holds, each before its own causes:"
        " type and text, and the module, function and line of ours that it came from",
        free=True,
    ),
    "frames": Field(
        "the calls it passed through, outermost first: module, function, line, and whether it is ours"
    ),
    "fingerprint": Field("which bug this is: the same for the same cause and path, whatever the data"),
}
"""The catalogue's fields of what `describe` returns."""

MAX_FRAMES = 30
MAX_CAUSES = 8
_MAX_TEXT = 2_000
_MIN_TEXT = 200
_ROOM = 7_000
"""About what all of it may take together, so that a line of 8,000 bytes holds it with what else an event tells."""
_MAX_LINKS = 64
"""How many causes the fingerprint looks at."""

# Our packages, wherever they are installed, and whatever stands outside the places for libraries.
_OURS = frozenset({"pipeline", "server"})
_LIBRARIES = tuple(
    {
        os.path.realpath(sysconfig.get_path(name)) + os.sep
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
)


class Frame(NamedTuple):
    """One call: where in which function, and whether it is our code."""

    module: str
    function: str
    line: int
    ours: bool


def describe(error: BaseException) -> dict[str, Any]:
    """`exception_type`, `exception_message`, `causes`, `frames` (outermost first) and `fingerprint` of `error`."""
    causes = list(islice(_causes(error), MAX_CAUSES))
    told: dict[str, Any] = {
        "exception_type": _type(error),
        "exception_message": "",
        "causes": [
            {"exception_type": _type(cause), "exception_message": "", **_origin(cause)} for cause in causes
        ],
        "frames": [frame._asdict() for frame in _ends(list(_frames(error.__traceback__)))],
        "fingerprint": fingerprint(error),
    }
    # The texts share what the places leave.
    room = (_ROOM - len(str(told))) // (1 + len(causes))
    for link, place in zip((error, *causes), (told, *told["causes"]), strict=True):
        place["exception_message"] = _message(link, min(max(room, _MIN_TEXT), _MAX_TEXT))
    return told


def fingerprint(error: BaseException) -> str:
    """12 hex digits that are the same for the same bug."""
    links = [error, *islice(_causes(error), _MAX_LINKS)]
    parts = [_identity(link) for link in links]
    if any(isinstance(link, BaseExceptionGroup) for link in links):
        parts[1:] = sorted(set(parts[1:]))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:12]


def _identity(error: BaseException) -> str:
    path = [f"{frame.module}:{frame.function}" for frame in _frames(error.__traceback__) if frame.ours]
    return "\n".join([_type(error), *path])


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What caused `error`, nearest first, and what a group holds, each before its own causes; ends at a cycle."""
    seen = {id(error)}
    waiting = _nearest(error)
    while waiting:
        cause = waiting.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting = _nearest(cause) + waiting


def _nearest(error: BaseException) -> list[BaseException]:
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    members = error.exceptions[:_MAX_LINKS] if isinstance(error, BaseExceptionGroup) else ()
    return [*members] if cause is None else [cause, *members]


def _type(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException, room: int) -> str:
    """The error's text in at most `room` bytes. It is cut after its secrets are gone: half a secret looks like none."""
    try:
        text: str = redacted(str(error))
    except Exception as failure:
        return f"[a message that cannot be shown: {type(failure).__name__}]"
    return text.encode("utf-8", "backslashreplace")[:room].decode("utf-8", "ignore")


def _origin(error: BaseException) -> dict[str, Any]:
    """Where `error` came from: our innermost call, or the innermost if none is ours; nothing if it was never raised."""
    frames = list(_frames(error.__traceback__))
    for frame in [frame for frame in frames if frame.ours][-1:] or frames[-1:]:
        return {"module": frame.module, "function": frame.function, "line": frame.line}
    return {}


def _frames(traceback: TracebackType | None) -> Iterator[Frame]:
    """The calls an exception passed through, outermost first."""
    while traceback is not None:
        frame = traceback.tb_frame
        path = frame.f_code.co_filename
        module = str(frame.f_globals.get("__name__") or path)
        ours = module.partition(".")[0] in _OURS or _outside_libraries(path)
        yield Frame(module, frame.f_code.co_qualname, traceback.tb_lineno, ours)
        traceback = traceback.tb_next


@lru_cache(1024)
def _outside_libraries(path: str) -> bool:
    # What has no file ("<frozen importlib._bootstrap>") is the interpreter's.
    return not path.startswith("<") and not os.path.realpath(path).startswith(_LIBRARIES)


def _ends(frames: list[Frame]) -> list[Frame]:
    """A recursion's middle says nothing; its ends say where it began and where it broke."""
    if len(frames) <= MAX_FRAMES:
        return frames
    return frames[: MAX_FRAMES // 3] + frames[-(MAX_FRAMES * 2 // 3) :]
