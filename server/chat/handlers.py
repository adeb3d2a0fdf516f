"""The chat over HTTP: one answer as JSON, or the same answer as a stream of server-sent events.

A stream's status line says 200 before the answer is known, so what can be refused is refused before it, and what fails
after it ends the stream with an `error` event.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp_sse import EventSourceResponse
from pydantic import BaseModel

from pipeline.context import note
from server.answers import json_response
from server.bodies import read_body
from server.errors import ChatKitError, Envelope, InternalError
from server.failures import report_exception
from server.request import exchange

from .answer import Cited, Text
from .models import DoneEvent, Question, SourcesEvent, TokenEvent
from .service import Chat, Finished, Piece

CHAT = web.AppKey("chat", Chat)

HEARTBEAT_SECONDS = 10.0
"""A comment is sent this often, so that proxies do not take a thinking server for a dead one."""

SEND_SECONDS = 30.0
"""How long a client may leave sent bytes unread before it counts as gone."""


async def ask(request: web.Request) -> web.StreamResponse:
    """Answer one question; 200 with the answer and its sources."""
    question = await read_body(request, Question)
    answer = await request.app[CHAT].answer(question)
    return json_response(answer)


async def ask_stream(request: web.Request) -> web.StreamResponse:
    """Answer one question as it is made; 200 with the events `sources`, `token`…, and `done` or `error`."""
    started = perf_counter()
    question = await read_body(request, Question)
    async with aclosing(request.app[CHAT].stream(question)) as pieces:
        # The first piece before the status line: a store that cannot be reached is an ordinary 503.
        first = await anext(pieces)
        response = _EventStream()
        await response.prepare(request)
        async with response, aclosing(_events(request, first, pieces)) as events:
            # A client that went away makes `emit` raise, which ends the work and reaches the access log.
            async for name, data in events:
                await response.emit(name, data)
                if name == "token" and response.tokens == 1:
                    note(first_token_ms=round((perf_counter() - started) * 1e3, 3))
    return response


async def _events(
    request: web.Request, first: Piece, rest: AsyncGenerator[Piece]
) -> AsyncGenerator[tuple[str, BaseModel | Envelope]]:
    """The stream's events; a failure is the last of them."""
    served = exchange()
    assert served is not None, "the middlewares come first"
    request_id = served.request_id
    try:
        yield _event(first, request_id)
        async for piece in rest:
            yield _event(piece, request_id)
    except ChatKitError as error:
        note(outcome="server_error")
        yield "error", error.envelope(request_id)
    except Exception as error:
        report_exception(error, request)
        yield "error", InternalError().envelope(request_id)


class _EventStream(EventSourceResponse):
    """A stream whose events are numbered from 1 and each hold one JSON object."""

    def __init__(self) -> None:
        super().__init__(
            sep="\n", allow_all_methods=True, ping_interval=HEARTBEAT_SECONDS, send_timeout=SEND_SECONDS
        )
        self._count = 0
        self.tokens = 0

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Begin to stream. Raises ``ConnectionError`` when the client is gone."""
        # aiohttp-sse takes a lost connection for a bug before the first byte and for a cancellation after the last.
        if request.transport is None:
            raise ConnectionResetError("the client went away")
        return await super().prepare(request)

    async def emit(self, event: str, data: BaseModel | Envelope) -> None:
        """Send one event. Raises ``ConnectionError`` when nobody is there to read it."""
        self._count += 1
        self.tokens += event == "token"
        body = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
        try:
            await self.send(orjson.dumps(body).decode(), id=str(self._count), event=event)
        except TimeoutError as stalled:
            raise ConnectionResetError(f"the client read nothing for {SEND_SECONDS:g} s") from stalled


def _event(piece: Piece, request_id: str) -> tuple[str, BaseModel]:
    """The name and the data of the event that tells of `piece`."""
    match piece:
        case Cited():
            return "sources", SourcesEvent(request_id=request_id, sources=list(piece.sources))
        case Text():
            return "token", TokenEvent(request_id=request_id, text=piece.text)
        case Finished():
            return "done", DoneEvent(request_id=request_id, metadata=piece.metadata)
