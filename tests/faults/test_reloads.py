"""Reloads and lost connections at random moments of a streamed answer: no token lost, none doubled, and one call of the model for each.

A visitor asks, reads until something happens to the connection, and comes back with the last event that it saw: by asking again with the
same message ID, or for the events of the answer. Half of the time the connection is broken hard, half of the time it is closed.
"""

import json
import random
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.ledger import times
from tests.harness import ServerProcess, request_bytes, running, with_documents
from tests.model_endpoint import END, ModelEndpoint, delta, finish, sends, serving, usage
from tests.visitors import anonymous_token

RELOADS = times(60, 200)
AT_ONCE = 8
LEAVES_AGAIN = 0.6
"""How likely a connection is to be lost before the answer is whole."""
QUESTION = "How do I trace a request?"
WORDS = [f"word{number} " for number in range(60)]
WHOLE = "".join(WORDS)


class Event(NamedTuple):
    id: str
    name: str
    data: dict[str, object]


@pytest.fixture(scope="module", params=["1", "2"], ids=["one worker", "two workers"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, documents: Path
) -> Iterator[tuple[ServerProcess, ModelEndpoint]]:
    folder = tmp_path_factory.mktemp("reloads")
    with_documents(folder, documents)
    with serving() as endpoint:
        pauses = [part for word in WORDS for part in (delta(word), 0.01)]
        endpoint.usually = sends(*pauses, finish(), usage(), END)
        settings = {"WORKERS": request.param, "CHAT_INFLIGHT": "500", "LLM_CACHE_BYTES": "0"}
        with running(folder, LLM_BASE_URL=endpoint.url, LLM_MODEL="counted", **settings) as server:
            yield server, endpoint


class Reader:
    """One visitor with one question, whose connection does not last."""

    def __init__(self, server: ServerProcess, message_id: str, seed: int) -> None:
        self.server = server
        self.message_id = message_id
        self.token = anonymous_token()
        self.rng = random.Random(seed)
        self.text = ""
        self.last: str | None = None
        self.sources = 0
        self.connections = 0
        self.done = False

    def run(self) -> "Reader":
        while not self.done:
            self.connections += 1
            assert self.connections < 100, "it never ends"
            whole = self.rng.random() > LEAVES_AGAIN
            self._connect(len(WHOLE) + 1 if whole else self.rng.randrange(len(WHOLE)))
        return self

    def _request(self) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}"}
        if self.last is not None:
            path = f"/api/v1/chat/{self.message_id}/events"
            return request_bytes("GET", path, headers | {"Last-Event-ID": self.last})
        body = json.dumps({"message": QUESTION, "message_id": self.message_id}).encode()
        return request_bytes(
            "POST", "/api/v1/chat/stream", headers | {"Content-Type": "application/json"}, body
        )

    def _connect(self, until: int) -> None:
        """Read until so many characters are there; then the connection is lost."""
        with socket.create_connection(self.server.address, timeout=30) as connection:
            connection.sendall(self._request())
            if self.last is None and self.rng.random() < 0.1:
                return  # Before anything came: whether it arrived nobody knows.
            for event in self._events(connection):
                self.last = event.id
                match event.name:
                    case "sources":
                        self.sources += 1
                    case "token":
                        self.text += str(event.data["text"])
                        assert event.id == str(len(self.text)), "a token was lost or came twice"
                    case "done":
                        self.done = True
                        return
                    case _:
                        raise AssertionError(event)
                if len(self.text) > until:
                    break
            if self.rng.random() < 0.5:
                # A reset instead of a farewell.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _events(self, connection: socket.socket) -> Iterator[Event]:
        with connection.makefile("rb") as stream:
            status = stream.readline()
            assert b" 200 " in status, status
            while stream.readline().strip():
                pass
            fields: dict[str, str] = {}
            while line := stream.readline():
                text = line.decode().rstrip("\r\n")
                if text and not text.startswith(":") and ": " in text:
                    name, value = text.split(": ", 1)
                    fields[name] = value
                elif not text and "event" in fields:
                    yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
                    fields = {}


@pytest.mark.timeout(600)
def test_no_token_is_lost_or_doubled_and_the_model_is_asked_once(
    site: tuple[ServerProcess, ModelEndpoint],
) -> None:
    server, endpoint = site
    readers = [Reader(server, f"m{number}", number) for number in range(RELOADS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = list(pool.map(Reader.run, readers))
    assert {reader.text for reader in ended} == {WHOLE}
    assert all(reader.sources >= 1 for reader in ended)
    assert len(endpoint.asked) == len(readers)
    # Else nothing was tried.
    assert sum(reader.connections - 1 for reader in ended) >= RELOADS
    again = [event for event in server.events("http_request") if event.get("attached")]
    assert len(again) >= RELOADS // 2
