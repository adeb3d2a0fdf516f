"""The chat completions of OpenAI's HTTP interface, as far as they are needed: the request, and what comes back piece by piece.

The format is https://platform.openai.com/docs/api-reference/chat: a POST of messages, answered by server-sent events whose data is one
JSON object each, and at last `[DONE]`. Nothing of what comes back is believed: what has not the shape is `BadPiece`, and of what is
only for information, such as the count of tokens, what makes no sense is as good as absent.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

import orjson

DONE = "[DONE]"
MOST_TOKENS = 10_000_000
"""A count beyond this is nonsense."""

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


class Message(TypedDict):
    """One message of the conversation that a model goes on with."""

    role: Literal["system", "user", "assistant"]
    content: str


class Piece(NamedTuple):
    """What one event says: more text, why the answer ends (if it does), and how many tokens it took (if told)."""

    text: str = ""
    finish: str = ""
    tokens: int | None = None


class BadPiece(Exception):
    """What came is not what the format says; `status` is the log's word for it, `code` the upstream's, if it had one."""

    def __init__(self, status: str, code: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.code = code


def request_body(model: str, messages: Sequence[Message], max_tokens: int) -> bytes:
    """The body of a request for a streamed answer of at most `max_tokens` (0: as many as the upstream likes)."""
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if max_tokens:
        body["max_tokens"] = max_tokens
    return orjson.dumps(body)


def parsed(data: str) -> Piece:
    """The piece that the data of one event is. Raises ``BadPiece``."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadPiece("BAD_JSON") from None
    if not isinstance(body, dict):
        raise BadPiece("BAD_JSON")
    if body.get("error"):
        raise BadPiece("ERROR_OBJECT", error_code(body))
    choices = body.get("choices")
    if not isinstance(choices, list):
        raise BadPiece("BAD_JSON")
    text, finish = _said(choices[0]) if choices else ("", "")
    return Piece(text, finish, counted_tokens(body.get("usage")))


def _said(choice: object) -> tuple[str, str]:
    """The text and the end that the first choice tells of."""
    if not isinstance(choice, dict):
        raise BadPiece("BAD_JSON")
    delta = choice.get("delta") or {}
    text = delta.get("content") if isinstance(delta, dict) else delta
    if text is not None and not isinstance(text, str):
        raise BadPiece("BAD_JSON")
    finish = choice.get("finish_reason")
    return text or "", finish if isinstance(finish, str) else ""


def counted_tokens(usage: object) -> int | None:
    """How many tokens an answer took, as it tells in `usage`; None where that makes no sense."""
    told = usage.get("total_tokens") if isinstance(usage, dict) else None
    sensible = isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= MOST_TOKENS
    return told if sensible else None


def error_code(body: object) -> str | None:
    """The code or type in an error object, if it looks like one; its message may hold anything, so it is never read."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return None
    told = [error.get(name) for name in ("code", "type")]
    return next((code for code in told if isinstance(code, str) and _CODE.fullmatch(code)), None)
