"""The chat over HTTP: one answer as JSON, or the same answer as a stream of server-sent events.

A stream's status line says 200 before the answer is known, so what can be refused is refused before it, and what fails
after it ends the stream with an `error` event.

The ID of an event is how many characters of the answer have been told with it: who comes back with the last one as `Last-Event-ID` gets
what follows, however the answer was cut into events before.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter
from typing import Any

import orjson
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp_sse import EventSourceResponse
from pydantic import BaseModel

from pipeline.context import note
from server.answers import json_response
from server.bodies import read_body
from server.clock import told
from server.errors import (
    ChatKitError,
    Detail,
    Envelope,
    InternalError,
    InvalidRequest,
    ServiceUnavailable,
)
from server.failures import report_exception
from server.request import exchange, shown_token, somebody, visitor

from .answer import Cited, Text
from .making import CUT_OFF_MESSAGE
from .models import Answer, DoneEvent, Newcomer, Question, SourcesEvent, TokenEvent
from .service import Finished, Piece
from .turns import Taken, Turns

TURNS = web.AppKey("turns", Turns)

HEARTBEAT_SECONDS = 10.0
"""A comment is sent this often, so that proxies do not take a thinking server for a dead one."""

SEND_SECONDS = 30.0
"""How long a client may leave sent bytes unread before it counts as gone."""

DONE_ID = "done"
"""The ID of the last event of a whole answer: nothing follows it."""

_PLACE = re.compile(r"\d{1,7}", re.ASCII)


async def ask(request: web.Request) -> web.StreamResponse:
    """Answer one question; 200 with the answer and its sources."""
    question = await read_body(request, Question)
    taken = await _taken(request, question)
    whole = await request.app[TURNS].whole(taken)
    return json_response(
        Answer(answer=whole.text, sources=list(whole.sources), metadata=whole.metadata, **_place(taken))
    )


async def ask_stream(request: web.Request) -> web.StreamResponse:
    """Answer one question as it is made; 200 with the events `sources`, `token`…, and `done` or `error`."""
    question = await read_body(request, Question)
    taken = await _taken(request, question)
    return await _streamed(request, taken, None)


async def events(request: web.Request) -> web.StreamResponse:
    """The answer to a question that was asked before, as a stream; with `Last-Event-ID` what follows that event, 204 when nothing does."""
    after = request.headers.get(hdrs.LAST_EVENT_ID)
    taken = await request.app[TURNS].find(somebody(), request.match_info["message_id"])
    if after == DONE_ID:
        return web.Response(status=204)
    if after is not None and not _PLACE.fullmatch(after):
        problem = "Send the ID of the last event that came, or leave it out."
        raise InvalidRequest(
            "The request is not valid: see Last-Event-ID.",
            details=[Detail(field="Last-Event-ID", problem=problem)],
        )
    return await _streamed(request, taken, None if after is None else int(after))


async def _taken(request: web.Request, question: Question) -> Taken:
    who = visitor()
    token = question.session_id if who is None else shown_token(request)
    return await request.app[TURNS].take(question, who, token)


def _place(taken: Taken) -> dict[str, Any]:
    """Which question it is, where it was asked, and by whom if that was somebody new."""
    new = taken.newcomer
    session = None if new is None else Newcomer(token=new.token, expires_at=told(new.visitor.expires_at))
    return {
        "message_id": taken.turn.message_id,
        "conversation_id": taken.turn.conversation,
        "session": session,
    }


async def _streamed(request: web.Request, taken: Taken, after: int | None) -> web.StreamResponse:
    """The answer of a turn from its character `after` on, or from its sources on for None."""
    started = perf_counter()
    async with aclosing(request.app[TURNS].follow(taken, after)) as pieces:
        # The first piece before the status line: a store that cannot be reached is an ordinary 503.
        first = await anext(pieces)
        response = _EventStream()
        await response.prepare(request)
        async with response, aclosing(_events(taken, first, pieces, after or 0)) as told_events:
            # A client that went away makes `emit` raise, which ends the work and reaches the access log.
            async for name, data, place in told_events:
                await response.emit(name, data, place)
                if name == "token" and response.tokens == 1:
                    note(first_token_ms=round((perf_counter() - started) * 1e3, 3))
    return response


Told = tuple[str, BaseModel | Envelope, str]
"""An event of the stream: its name, its data, its ID."""


async def _events(taken: Taken, first: Piece, rest: AsyncGenerator[Piece], at: int) -> AsyncGenerator[Told]:
    """The stream's events; a failure is the last of them."""
    served = exchange()
    assert served is not None, "the middlewares come first"
    request_id = served.request_id
    try:
        piece: Piece | None = first
        while piece is not None:
            match piece:
                case Cited():
                    sources = list(piece.sources)
                    yield (
                        "sources",
                        SourcesEvent(request_id=request_id, sources=sources, **_place(taken)),
                        str(at),
                    )
                case Text():
                    at += len(piece.text)
                    yield "token", TokenEvent(request_id=request_id, text=piece.text), str(at)
                case Finished(metadata) if metadata.cut_off:
                    note(outcome="server_error")
                    yield "error", ServiceUnavailable(CUT_OFF_MESSAGE).envelope(request_id), str(at)
                case Finished(metadata):
                    yield "done", DoneEvent(request_id=request_id, metadata=metadata), DONE_ID
            piece = await anext(rest, None)
    except ChatKitError as error:
        note(outcome="server_error")
        yield "error", error.envelope(request_id), str(at)
    except Exception as error:
        report_exception(error)
        yield "error", InternalError().envelope(request_id), str(at)


class _EventStream(EventSourceResponse):
    """A stream whose events each hold one JSON object."""

    def __init__(self) -> None:
        super().__init__(
            sep="\n", allow_all_methods=True, ping_interval=HEARTBEAT_SECONDS, send_timeout=SEND_SECONDS
        )
        self.tokens = 0

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Begin to stream. Raises ``ConnectionError`` when the client is gone."""
        # aiohttp-sse takes a lost connection for a bug before the first byte and for a cancellation after the last.
        if request.transport is None:
            raise ConnectionResetError("the client went away")
        return await super().prepare(request)

    async def emit(self, event: str, data: BaseModel | Envelope, place: str) -> None:
        """Send one event. Raises ``ConnectionError`` when nobody is there to read it."""
        self.tokens += event == "token"
        body = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
        try:
            await self.send(orjson.dumps(body).decode(), id=place, event=event)
        except TimeoutError as stalled:
            raise ConnectionResetError(f"the client read nothing for {SEND_SECONDS:g} s") from stalled
