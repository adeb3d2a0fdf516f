"""The chat over HTTP: one answer, the same answer as a stream, and every way in which either can end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest
from aiohttp import web

from pipeline.heartbeat import LoopLag
from server.accounts.sessions import Sessions
from server.accounts.tokens import Digester
from server.bodies import BODY_SECONDS
from server.chat import handlers, making
from server.chat.answer import Answerer, Cited, Piece, Text
from server.chat.extract import NO_ANSWER, ExtractiveAnswerer
from server.chat.handlers import TURNS, ask, ask_stream
from server.chat.ingest import ingest
from server.chat.making import Making
from server.chat.models import Answer
from server.chat.retrieval import FullTextRetriever
from server.chat.service import Chat
from server.chat.turns import Turns
from server.clock import wall_clock
from server.connection import Runner
from server.errors import ServiceUnavailable
from server.failures import report_exception
from server.middleware import Addresses, Meter, around
from server.middleware import started as headers_stamped
from server.store.engine import Store
from tests.reading_log import events
from tests.server.chat.documents import library
from tests.shared import naughty_strings
from tests.waiting import soon

QUESTION = "How do I trace a request?"


class Client(NamedTuple):
    """A client of a server on loopback that is started as the real one is: handlers are not cancelled."""

    session: aiohttp.ClientSession
    host: str
    port: int

    async def post(self, path: str, json: Any) -> aiohttp.ClientResponse:
        return await self.session.post(f"http://{self.host}:{self.port}{path}", json=json)


Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start(store: Store) -> AsyncIterator[Start]:
    """The two handlers behind the real middlewares, with the answerer of one's choice."""
    runners: list[web.AppRunner] = []
    kept: list[tuple[Making, asyncio.Task[None]]] = []
    session = aiohttp.ClientSession()

    async def started(answerer: Answerer | None = None, alone_seconds: float = 30.0) -> Client:
        app = web.Application()
        app.on_response_prepare.append(headers_stamped)
        app[BODY_SECONDS] = 5.0
        chat = Chat(FullTextRetriever(store), answerer or ExtractiveAnswerer())
        makes = Making(
            store=store,
            chat=chat,
            clock=wall_clock,
            report=report_exception,
            alone_seconds=alone_seconds,
        )
        sessions = Sessions(store, Digester([b"0" * 32]), wall_clock)
        app[TURNS] = Turns(store=store, makes=makes, sessions=sessions, clock=wall_clock, model=chat.model)
        kept.append((makes, asyncio.create_task(makes.run())))
        app.router.add_post("/chat", ask)
        app.router.add_post("/stream", ask_stream)
        runner = Runner(app, Addresses((), b"0" * 32), around(Meter(LoopLag())), shutdown_timeout=2)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return Client(session, host, port)

    yield started
    await session.close()
    for runner in runners:
        await runner.cleanup()
    for makes, task in kept:
        await makes.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def client(start: Start, store: Store, tmp_path: Path) -> Client:
    await ingest(store, [library(tmp_path)])
    return await start()


class Sent(NamedTuple):
    """One event of a stream."""

    id: str
    name: str
    data: dict[str, Any]


def _parsed(body: str) -> list[Sent]:
    found = []
    for block in body.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if fields:
            found.append(Sent(fields["id"], fields["event"], orjson.loads(fields["data"])))
    return found


def _places(sent: list[Sent]) -> list[str]:
    """How many characters have been told with each token."""
    texts = [event.data["text"] for event in sent if event.name == "token"]
    return [str(len("".join(texts[: number + 1]))) for number in range(len(texts))]


async def _stream(
    client: Client, message: str = QUESTION, **context: Any
) -> tuple[aiohttp.ClientResponse, list[Sent]]:
    body = {"message": message} | ({"context": context} if context else {})
    response = await client.post("/stream", json=body)
    return response, _parsed(await response.text())


async def test_a_question_is_answered_with_its_sources_and_what_it_took(client: Client) -> None:
    response = await client.post("/chat", json={"message": QUESTION})
    answer = Answer.model_validate_json(await response.text())

    assert response.status == 200
    assert "python -m pipeline trace ID" in answer.answer
    assert answer.sources[0].url.endswith("operations.md#tracing-a-request")
    assert answer.sources[0].title == "Operations handbook \u203a Tracing a request"
    assert (answer.metadata.model, answer.metadata.tokens_used) == ("extractive", 0)
    assert 0 < answer.metadata.retrieval_time_ms <= answer.metadata.total_time_ms


async def test_a_stream_is_the_same_answer_in_pieces(client: Client) -> None:
    whole = Answer.model_validate_json(await (await client.post("/chat", json={"message": QUESTION})).text())
    response, sent = await _stream(client)

    names = [event.name for event in sent]
    assert names == ["sources", *["token"] * (len(sent) - 2), "done"]
    assert len(sent) >= 3
    assert [event.id for event in sent] == ["0", *_places(sent), "done"]
    assert {event.data["request_id"] for event in sent} == {response.headers["X-Request-ID"]}
    assert "".join(event.data["text"] for event in sent if event.name == "token") == whole.answer
    assert sent[0].data["sources"] == [source.model_dump() for source in whole.sources]
    assert sent[-1].data["metadata"]["model"] == "extractive"


async def test_a_stream_has_the_headers_that_proxies_and_browsers_need(client: Client) -> None:
    response, _ = await _stream(client)
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in response.headers if name.lower().startswith("access-control-")]


async def test_what_the_documents_do_not_hold_is_said_in_both_ways(client: Client) -> None:
    answer = await (await client.post("/chat", json={"message": "What is the capital of France?"})).json()
    _, sent = await _stream(client, "What is the capital of France?")
    assert (answer["answer"], answer["sources"]) == (NO_ANSWER, [])
    assert [event.data.get("text") for event in sent] == [None, NO_ANSWER, None]


@pytest.mark.parametrize("path", ["/chat", "/stream"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"message": "x" * 2_001}, 400, "message_too_long"),
        ({"message": "x", "context": {"selected_text": "y" * 5_001}}, 400, "selected_text_too_long"),
        ({"message": " \n "}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
        ({"message": "x", "tier": 3}, 400, "invalid_request"),
        ([], 400, "invalid_request"),
    ],
)
async def test_a_bad_body_is_refused_before_anything_is_sent(
    client: Client, path: str, body: Any, status: int, code: str
) -> None:
    response = await client.post(path, json=body)
    envelope = await response.json()
    assert (response.status, envelope["error"]) == (status, code)
    assert envelope["request_id"] == response.headers["X-Request-ID"]
    assert response.content_type == "application/json"


@pytest.mark.parametrize("path", ["/chat", "/stream"])
async def test_a_database_that_cannot_be_used_is_503_with_a_time_to_come_back(
    start: Start, store: Store, path: str
) -> None:
    client = await start()
    assert store.engine.url.database is not None
    Path(store.engine.url.database).write_bytes(b"no database " * 1_000)
    response = await client.post(path, json={"message": QUESTION})
    envelope = await response.json()
    assert (response.status, envelope["error"], envelope["retry_after"]) == (503, "service_unavailable", 5)
    assert response.headers["Retry-After"] == "5"


async def test_every_naughty_string_is_answered_or_refused_and_both_ways_agree(client: Client) -> None:
    for text in naughty_strings():
        whole = await client.post("/chat", json={"message": text})
        streamed = await client.post("/stream", json={"message": text})
        expected = 200 if 0 < len(text) <= 2_000 and text.strip() else 400
        assert (whole.status, streamed.status) == (expected, expected), text
        if expected == 200:
            answer = await whole.json()
            sent = _parsed(await streamed.text())
            assert "".join(event.data.get("text", "") for event in sent) == answer["answer"]


async def test_the_canonical_event_says_what_the_answer_took_and_none_says_what_was_asked(
    client: Client,
) -> None:
    with events() as written:
        await _stream(client, "How do I trace a request with swordfish?")
    canonical = next(event for event in written if event["event"] == "http_request")
    answered = next(event for event in written if event["event"] == "question_answered")

    assert canonical["db_calls"] == 3  # begin the turn, search, finish the turn
    assert 0 < canonical["db_ms"] <= canonical["duration_ms"]
    assert canonical["generation_ms"] > 0
    assert canonical["first_token_ms"] >= canonical["retrieval_ms"]
    assert (answered["answered"], answered["model"], answered["mode"]) == (True, "extractive", "chat")
    assert answered["request_id"] == canonical["request_id"]
    assert "swordfish" not in str(written)


class _Scripted:
    """An answerer that says what a test wants, and tells when it was stopped."""

    model = "scripted"

    def __init__(
        self, *texts: str, pause: float = 0.0, failure: Exception | None = None, forever: bool = False
    ) -> None:
        self._texts = texts
        self._pause = pause
        self._failure = failure
        self._forever = forever
        self.stopped = asyncio.Event()

    async def answer(self, *_: Any) -> AsyncGenerator[Piece]:
        try:
            yield Cited(())
            while True:
                for text in self._texts:
                    await asyncio.sleep(self._pause)
                    yield Text(text)
                if not self._forever:
                    break
            if self._failure is not None:
                raise self._failure
        finally:
            self.stopped.set()


async def _ending(written: list[dict[str, Any]]) -> dict[str, Any]:
    """The canonical event, once it is there."""
    for _ in range(100):
        for event in written:
            if event["event"] == "http_request":
                return event
        await asyncio.sleep(0.05)
    raise AssertionError(written)


async def test_a_bug_after_the_stream_began_ends_it_with_an_error_event_and_is_logged_once(
    start: Start,
) -> None:
    client = await start(_Scripted("half an ", failure=RuntimeError("secret detail")))
    with events() as written:
        response, sent = await _stream(client)
        canonical = await _ending(written)

    assert response.status == 200
    assert [event.name for event in sent] == ["sources", "token", "error"]
    assert sent[-1].data == {
        "error": "internal_error",
        "message": "An unexpected error occurred. Please try again later.",
        "request_id": response.headers["X-Request-ID"],
    }
    (reported,) = [event for event in written if event["event"] == "unhandled_exception"]
    assert reported["exception_message"] == "secret detail"
    assert (canonical["outcome"], canonical["status"]) == ("server_error", 200)
    assert not [event for event in written if event["event"] == "question_answered"]


async def test_an_upstream_that_resets_its_connection_is_an_error_and_not_a_client_that_left(
    start: Start,
) -> None:
    client = await start(_Scripted("half an ", failure=ConnectionResetError()))
    with events() as written:
        _, sent = await _stream(client)
        canonical = await _ending(written)
    assert sent[-1].data["error"] == "internal_error"
    assert canonical["outcome"] == "server_error"


async def test_a_refusal_after_the_stream_began_is_told_in_its_own_words(start: Start) -> None:
    client = await start(_Scripted("half an ", failure=ServiceUnavailable("Come back.", retry_after=7)))
    with events() as written:
        _, sent = await _stream(client)
        canonical = await _ending(written)
    assert (sent[-1].name, sent[-1].data["error"], sent[-1].data["retry_after"]) == (
        "error",
        "service_unavailable",
        7,
    )
    assert canonical["outcome"] == "server_error"


async def test_a_bug_without_a_stream_is_the_ordinary_500(start: Start) -> None:
    client = await start(_Scripted("half an ", failure=RuntimeError("secret detail")))
    response = await client.post("/chat", json={"message": QUESTION})
    assert response.status == 500
    assert "secret" not in await response.text()


async def test_a_silent_answerer_is_kept_alive_by_a_heartbeat(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "HEARTBEAT_SECONDS", 0.05)
    client = await start(_Scripted("late", pause=0.3))
    response = await client.post("/stream", json={"message": QUESTION})
    body = await response.text()
    assert body.count(": ping\n\n") >= 3
    assert [event.name for event in _parsed(body)] == ["sources", "token", "done"]


async def test_a_client_that_leaves_for_good_stops_the_work_and_is_no_error(
    start: Start,
) -> None:
    answerer = _Scripted("word ", pause=0.01, forever=True)
    client = await start(answerer, alone_seconds=0.1)
    with events() as written:
        response = await client.post("/stream", json={"message": QUESTION})
        await response.content.readline()
        response.close()
        await asyncio.wait_for(answerer.stopped.wait(), 5)
        canonical = await _ending(written)

    assert canonical["outcome"] == "client_closed"
    assert not [event for event in written if event["event"] == "unhandled_exception"]


async def test_a_client_that_reads_nothing_is_let_go(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "SEND_SECONDS", 0.3)
    monkeypatch.setattr(making, "ANSWER_LIMIT", 100_000_000)
    answerer = _Scripted("word " * 20_000, pause=0.005, forever=True)
    client = await start(answerer, alone_seconds=0.1)
    with events() as written:
        reader, writer = await asyncio.open_connection(client.host, client.port, limit=1)
        body = orjson.dumps({"message": QUESTION})
        writer.write(
            b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await writer.drain()
        await asyncio.wait_for(answerer.stopped.wait(), 10)
        canonical = await _ending(written)
        writer.close()
        del reader
    assert canonical["outcome"] == "client_closed"


async def test_no_task_and_no_answerer_outlives_its_request(start: Start) -> None:
    answerer = _Scripted("word ")
    client = await start(answerer)
    before = len(asyncio.all_tasks())
    for _ in range(20):
        await _stream(client)
    await soon(lambda: len(asyncio.all_tasks()) <= before + 1)
    assert answerer.stopped.is_set()
