"""An answer as it comes in: from the bytes of a response to the pieces of the answer, all of it bounded."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from .completions import DONE, BadPiece, Piece, parsed
from .events import EventReader, EventTooLong
from .failures import LLMBadResponse, LLMCutOff
from .patience import Call

if TYPE_CHECKING:
    import aiohttp

ANSWER_CHARACTERS = 20_000
"""Where an answer ends that does not end by itself."""
RECEIVED_BYTES = 16 << 20
"""What is read of one answer at most, whatever it consists of."""
FAREWELL_SECONDS = 0.05
"""How long the end of the response may take after the end of the answer; a connection that has not ended by then is not used again."""

STOP = "stop"
"""Why an answer ends that is whole."""
LENGTH = "length"
"""Why an answer ends that is not finished."""
REFUSED = "content_filter"
"""Why an answer ends that the upstream would not give."""


async def pieces(call: Call, response: "aiohttp.ClientResponse") -> AsyncGenerator[Piece]:
    """The pieces of the answer, with text, and one more with the reason why it ends. Raises ``LLMFailure``.

    What has come by the time somebody looks is one piece: a server that is busy sends its visitors fewer and longer ones.
    """
    finish, tokens, left = "", None, ANSWER_CHARACTERS
    async with aclosing(_events(call, response)) as received:
        async for events in received:
            told, bad = _told(events)
            if told.text:
                call.token()
                yield Piece(told.text[:left])
                left -= len(told.text)
            if bad is not None:
                raise LLMBadResponse(bad.status, code=bad.code)
            finish, tokens = told.finish or finish, tokens if told.tokens is None else told.tokens
            if left < 0:
                finish = LENGTH
                break
    # Some say why and do not end with `[DONE]`, some the other way round. Without either, something is missing.
    if not finish and not call.done:
        raise LLMCutOff("CUT_OFF")
    if call.first_token is None:
        raise LLMBadResponse("EMPTY", ours=finish == REFUSED)
    yield Piece(finish=finish or STOP, tokens=tokens)


def _told(events: Iterable[str]) -> tuple[Piece, BadPiece | None]:
    """What several events say together, up to the first one that says nothing sensible."""
    text, finish, tokens = [], "", None
    bad = None
    for event in events:
        try:
            piece = parsed(event)
        except BadPiece as found:
            bad = found
            break
        text.append(piece.text)
        finish, tokens = piece.finish or finish, tokens if piece.tokens is None else piece.tokens
    return Piece("".join(text), finish, tokens), bad


async def _events(call: Call, response: "aiohttp.ClientResponse") -> AsyncGenerator[Sequence[str]]:
    """The data of the events before the end, as many at a time as have come."""
    import aiohttp

    reader, received = EventReader(), 0
    try:
        while data := await call.wait(response.content.readany()):
            received += len(data)
            events = list(reader.feed(data))
            ends = next((place for place, event in enumerate(events) if event.strip() == DONE), None)
            yield events[:ends]
            if ends is not None:
                call.done = True
                await _farewell(response)
                return
            if received > RECEIVED_BYTES:
                raise LLMBadResponse("TOO_MUCH")
    except EventTooLong:
        raise LLMBadResponse("EVENT_TOO_LONG") from None
    except aiohttp.ClientError:
        raise LLMCutOff("CUT_OFF") from None


async def _farewell(response: "aiohttp.ClientResponse") -> None:
    """Read the end of the response, so that its connection can be used again."""
    import aiohttp

    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(FAREWELL_SECONDS):
            while await response.content.readany():
                pass
