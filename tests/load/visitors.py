"""Visitors as locust knows them: most ask and read the streamed answer, some look around, one watches the figures.

Run by `python -m tests.load`; by hand: `locust -f tests/load/visitors.py --host http://127.0.0.1:8000`.
"""

import json
import random
import uuid
from time import perf_counter
from typing import Any

from locust import HttpUser, between, events, task

QUESTIONS = (
    "How do I trace a request?",
    "What does the heartbeat say?",
    "Why does the server not start?",
    "How do I embed the widget?",
    "What is a segment?",
    "Who is allowed to read the answer?",
    "What happens when the disk is full?",
    "Which settings are there?",
    "Do wombats dig burrows?",
)


class Visitor(HttpUser):
    """Somebody with a question, who reads the answer before the next one."""

    weight = 20
    wait_time = between(0.5, 2.0)

    @task(6)
    def ask_and_watch_the_answer_come(self) -> None:
        """A streamed answer; the time to its first token is a figure of its own."""
        started = perf_counter()
        first: float | None = None
        last = ""
        with self.client.post(
            "/api/v1/chat/stream", json=question(), headers=request_id(), stream=True, catch_response=True
        ) as response:
            for line in response.iter_lines():
                if line.startswith(b"event:"):
                    last = line[6:].strip().decode()
                    if last == "token" and first is None:
                        first = (perf_counter() - started) * 1000
            if last != "done":
                response.failure(f"the stream ended with {last or 'nothing'}")
        if first is not None:
            events.request.fire(  # type: ignore[no-untyped-call]
                request_type="SSE",
                name="first token",
                response_time=first,
                response_length=0,
                exception=None,
                context={},
            )

    @task(2)
    def ask_at_once(self) -> None:
        """A whole answer as JSON; it names its request and holds an answer."""
        headers = request_id()
        with self.client.post(
            "/api/v1/chat", json=question(), headers=headers, catch_response=True
        ) as response:
            if response.headers.get("X-Request-ID") != headers["X-Request-ID"]:
                response.failure("the answer has another ID")
            elif response.status_code == 200 and not json.loads(response.content)["answer"]:
                response.failure("the answer is empty")

    @task(1)
    def open_the_page(self) -> None:
        """The page and the widget, as a browser loads them."""
        self.client.get("/", headers=request_id())
        self.client.get("/widget/chatkit.js", headers=request_id())

    @task(1)
    def ask_too_much(self) -> None:
        """A question that is too long is refused, and that is right."""
        with self.client.post(
            "/api/v1/chat",
            name="/api/v1/chat (too long)",
            json={"message": "x" * 2001},
            headers=request_id(),
            catch_response=True,
        ) as response:
            if response.status_code == 400 and response.json()["error"] == "message_too_long":
                response.success()
            else:
                response.failure(f"expected message_too_long, got {response.status_code}")


class Watcher(HttpUser):
    """A monitoring system."""

    weight = 1
    wait_time = between(1.0, 2.0)

    @task
    def look(self) -> None:
        """Is it well, and what is it doing?"""
        self.client.get("/health")
        self.client.get("/metrics", headers={"Accept": "text/plain"})


def question() -> dict[str, Any]:
    """One of the questions, as the body of a request."""
    return {"message": random.choice(QUESTIONS), "context": {"mode": "chat"}}


def request_id() -> dict[str, str]:
    """An ID of the visitor's own, so that a slow request can be traced."""
    return {"X-Request-ID": f"load-{uuid.uuid4()}"}
