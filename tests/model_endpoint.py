"""A language model's endpoint that does as a test says: answers well or slowly, stalls, refuses, talks nonsense, hangs up.

    with serving() as endpoint:
        endpoint.then(refuses(503), says("Hello"))      # for the next two requests
        endpoint.usually = stalls()                     # for all others

A real HTTP server on loopback, in a thread of its own, so that a server under test that stands still cannot hold it up.
"""

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from aiohttp import web

from tests.waiting import ENOUGH_SECONDS

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

UPSTREAM_ID = "req_upstream-7"
STALL_SECONDS = 600.0
"""As good as for ever: no test waits so long, and no server is kept from its end for longer."""


class Asked(NamedTuple):
    """One request as it came."""

    headers: dict[str, str]
    body: dict[str, Any]
    path: str

    @property
    def texts(self) -> list[str]:
        """Whose vectors were asked for."""
        found: list[str] = self.body["input"]
        return found

    @property
    def messages(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.body["messages"]
        return found

    @property
    def text(self) -> str:
        """All that the model was told."""
        return "\n".join(message["content"] for message in self.messages)


class ModelEndpoint:
    """`url` is its base; `asked` are the requests so far; `left` counts clients that hung up before the end."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.left = 0
        self.usually: Behaviour = says("The bell must be rung before you overtake. [1]")
        self.embeds: Behaviour = refuses(404)  # see `tests.embedding_endpoint`
        self._script: list[Behaviour] = []

    def then(self, *behaviours: Behaviour) -> None:
        """What it does with the next requests, one each."""
        self._script += behaviours

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(dict(request.headers), await request.json(), request.path))
        usually = self.embeds if request.path.endswith("/embeddings") else self.usually
        behaviour = self._script.pop(0) if self._script else usually
        try:
            return await behaviour(request)
        except (ConnectionError, asyncio.CancelledError):
            self.left += 1
            raise


@contextmanager
def serving() -> Iterator[ModelEndpoint]:
    """An endpoint that serves within the block."""
    endpoint = ModelEndpoint()
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", endpoint.handle)
        app.router.add_post("/v1/embeddings", endpoint.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        endpoint.url = f"http://{host}:{port}/v1"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="model-endpoint")
    thread.start()
    try:
        assert ready.wait(ENOUGH_SECONDS)
        yield endpoint
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


# ── what it does ────────────────────────────────────────────────────────────────────────────────────────────────────────


def delta(text: str) -> bytes:
    """The event of one token."""
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def event(body: object) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def finish(reason: str = "stop") -> bytes:
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def usage(total: object = 42) -> bytes:
    return event(
        {"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": total}}
    )


END = b"data: [DONE]\n\n"


async def streaming(request: web.Request, content_type: str = "text/event-stream") -> web.StreamResponse:
    """A response whose head has gone out."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "X-Request-ID": UPSTREAM_ID})
    await response.prepare(request)
    return response


def sends(*parts: bytes | float, close: bool = False, content_type: str = "text/event-stream") -> Behaviour:
    """Sends bytes, and waits where there is a number of seconds; with `close` it hangs up in the middle."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = await streaming(request, content_type)
        for part in parts:
            if isinstance(part, bytes):
                await response.write(part)
            else:
                await asyncio.sleep(part)
        if close:
            await asyncio.sleep(0.05)  # so that what was sent is seen
            _hang_up(request)
        return response

    return behave


def says(text: str, *, seconds: float = 0.0, total: object = 42) -> Behaviour:
    """Streams `text` word by word, as a model that is well."""
    words = [word for word in text.replace(" ", "\0 ").split("\0") if word]
    parts: list[bytes | float] = []
    for word in words:
        parts += [delta(word), *([seconds] if seconds else [])]
    return sends(
        event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}),
        *parts,
        finish(),
        usage(total),
        END,
    )


def refuses(status: int, body: object = None, **headers: str) -> Behaviour:
    """Answers with a status."""

    async def behave(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        told = (
            {"error": {"message": "sk-secret-in-a-message", "type": "server_error"}} if body is None else body
        )
        return web.json_response(told, status=status, headers={**named, "X-Request-ID": UPSTREAM_ID})

    return behave


def stalls() -> Behaviour:
    """Takes the request and says nothing at all."""

    async def behave(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(STALL_SECONDS)
        return web.Response()

    return behave


def stalls_after(*parts: bytes) -> Behaviour:
    """Begins well, and says nothing more; the connection stays open."""
    return sends(*parts, STALL_SECONDS)


def hangs_up() -> Behaviour:
    """Takes the request and closes the connection."""

    async def behave(request: web.Request) -> web.StreamResponse:
        _hang_up(request)
        return web.Response()

    return behave


def half_an_answer(text: str = "The bell must be") -> Behaviour:
    """Some tokens, then the connection closes."""
    return sends(*(delta(word + " ") for word in text.split()), close=True)


def page(status: int = 200) -> Behaviour:
    """A web page, as of a captive portal or a proxy."""

    async def behave(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html><body>Sign in</body></html>", content_type="text/html", status=status)

    return behave


def redirects(to: str) -> Behaviour:
    """Sends the caller elsewhere."""

    async def behave(_: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": to})

    return behave


def compressed(text: str) -> Behaviour:
    """Answers in gzip though nobody asked for it."""

    async def behave(request: web.Request) -> web.StreamResponse:
        body = gzip.compress(delta(text) + finish() + usage() + END)
        return web.Response(body=body, content_type="text/event-stream", headers={"Content-Encoding": "gzip"})

    return behave


def endless() -> Behaviour:
    """Never stops talking."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = await streaming(request)
        while True:
            await response.write(delta("word " * 200))

    return behave


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


@contextmanager
def never_accepting() -> Iterator[str]:
    """The base URL of an endpoint to which no connection is ever made: its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(address)
            waiting.append(one)
        try:
            yield f"http://127.0.0.1:{address[1]}/v1"
        finally:
            for one in waiting:
                one.close()
