"""Questions answered by what passages mean, over a real server and a real endpoint that does what endpoints do.

Each answer that needs the vectors has its control: the same server without them does not give it. Whatever the endpoint does, a question is
answered in time, by words alone, and the log says which.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from server.chat.extract import NO_ANSWER
from tests.embedding_endpoint import answers, breaks_off, changed, embeds, meaning, noise
from tests.harness import Event, ServerProcess, clean_environment, exchange, free_port, request_bytes, running
from tests.model_endpoint import (
    UPSTREAM_ID,
    Behaviour,
    ModelEndpoint,
    hangs_up,
    page,
    redirects,
    refuses,
    serving,
    stalls,
)
from tests.waiting import until

KEY = "sk-not-for-the-log-51c0aa"
JSON = {"Content-Type": "application/json"}
QUESTION = "How do I get my money back?"
BY_WORDS = "When does the office open?"
SITE = {
    "refunds.md": "# Refunds\n\nWe refund what was paid within 14 days. Write to the office and name the ride.\n",
    "hours.md": "# Opening hours\n\nThe office opens at nine and closes at five.\n",
    "bees.md": "# Bees\n\nBees live in hives.\n\n## Honey\n\nHoney is made of nectar, dried by their wings.\n",
}


@pytest.fixture
def endpoint() -> Iterator[ModelEndpoint]:
    with serving() as one:
        one.embeds = embeds()
        yield one


def settings_for(endpoint: ModelEndpoint, **more: str) -> dict[str, str]:
    return {
        "EMBEDDING_BASE_URL": endpoint.url,
        "EMBEDDING_MODEL": "stand-in",
        "EMBEDDING_API_KEY": KEY,
        "EMBEDDING_TIMEOUT_SECONDS": "30",
        "LLM_BREAKER_FAILURES": "50",
    } | more


@contextmanager
def asking(folder: Path, endpoint: ModelEndpoint, **settings: str) -> Iterator[ServerProcess]:
    """A server that knows the site; the key is nowhere in its folder when it ends."""
    site = folder / "server" / "site"
    site.mkdir(parents=True)
    for name, text in SITE.items():
        (site / name).write_text(text)
    server = ServerProcess(folder / "server", **settings_for(endpoint, **settings))
    done = server.command("server", "ingest", "site")
    assert done.returncode == 0, done.stderr.decode()
    endpoint.asked.clear()
    with running(folder / "server", **server.settings) as server:
        yield server
    for file in (folder / "server").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), f"the key is in {file}"


@pytest.fixture
def server(tmp_path: Path, endpoint: ModelEndpoint) -> Iterator[ServerProcess]:
    with asking(tmp_path, endpoint) as one:
        yield one


@pytest.fixture(scope="module")
def suffering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ModelEndpoint]]:
    """A server whose endpoint is not well, for several tests; its breaker does not open."""
    with serving() as endpoint:
        endpoint.embeds = embeds()
        with asking(tmp_path_factory.mktemp("suffering"), endpoint, EMBEDDING_TIMEOUT_SECONDS="2") as server:
            yield server, endpoint


def ask(server: ServerProcess, message: str = QUESTION, request_id: str = "visitor-1") -> Any:
    body = json.dumps({"message": message}).encode()
    headers = {**JSON, "X-Request-ID": request_id}
    answer = exchange(server.address, request_bytes("POST", "/api/v1/chat", headers, body))
    assert answer.status == 200, answer.raw
    return answer.json()


def get(server: ServerProcess, path: str) -> Any:
    answer = exchange(server.address, request_bytes("GET", path))
    assert answer.status == 200
    return answer.json()


def request_of(server: ServerProcess, request_id: str = "visitor-1") -> Event:
    """The event of the last request with that ID."""
    return server.wait_for("http_request", request_id=request_id)[-1]


def ingest(server: ServerProcess, **settings: str) -> list[Event]:
    """Ingest the site once more; the events that it told."""
    done = server.command("server", "ingest", "site", **settings)
    assert KEY.encode() not in done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_question_in_other_words_than_the_documents_is_answered_with_vectors_and_not_without(
    server: ServerProcess,
) -> None:
    answer = ask(server)
    assert "We refund what was paid within 14 days." in answer["answer"]
    assert answer["sources"][0]["url"].startswith("site/refunds.md")
    assert 0.32 <= answer["sources"][0]["score"] <= 1
    request = request_of(server)
    assert request["embedding"] == "asked"
    assert 0 < request["embedding_ms"] <= request["retrieval_ms"]
    assert 0.5 <= request["nearest"] < 1

    server.stop()
    server.settings = {
        name: value for name, value in server.settings.items() if not name.startswith("EMBEDDING")
    }
    server.start()
    answer = ask(server, request_id="without")
    assert (answer["answer"], answer["sources"]) == (NO_ANSWER, [])
    assert "embedding" not in request_of(server, "without")
    assert "embeddings" not in get(server, "/metrics")


def test_what_words_answer_is_answered_the_same_with_vectors_that_are_noise(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    endpoint.embeds = embeds(noise)
    with asking(tmp_path, endpoint) as server:
        with_noise = ask(server, BY_WORDS)
        assert "opens at nine" in with_noise["answer"]
        assert ask(server, request_id="noise")["answer"] == NO_ANSWER
        assert -0.5 < request_of(server, "noise")["nearest"] < 0.5
        endpoint.embeds = refuses(500)
        by_words = ask(server, BY_WORDS + " ")
        assert [by_words[name] for name in ("answer", "sources")] == [
            with_noise[name] for name in ("answer", "sources")
        ]


def test_a_language_model_is_asked_with_what_only_meaning_found(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    with asking(tmp_path, endpoint, LLM_BASE_URL=endpoint.url, LLM_MODEL="writer") as server:
        answer = ask(server)
        assert answer["metadata"]["model"] == "writer"
        (asked,) = [one for one in endpoint.asked if one.path.endswith("/chat/completions")]
        assert "We refund what was paid" in asked.text
        assert asked.headers.get("Authorization") is None


def test_an_ingest_pays_for_what_has_changed_and_another_model_for_all(
    server: ServerProcess, endpoint: ModelEndpoint
) -> None:
    def texts() -> list[str]:
        found = [text for one in endpoint.asked for text in one.texts]
        endpoint.asked.clear()
        return found

    *_, told = ingest(server)
    assert (told["event"], told["embedded"], texts()) == ("passages_embedded", 0, [])

    (server.folder / "site" / "bees.md").write_text(SITE["bees.md"].replace("nectar", "sugar"))
    *_, told = ingest(server)
    assert texts() == ["Bees › Honey\nHoney is made of sugar, dried by their wings."]  # noqa: RUF001 - as the headings are parted
    assert (told["embedded"], told["reused"], told["tokens"], told["model"]) == (1, 1, 7, "stand-in")

    *_, told = ingest(server, EMBEDDING_MODEL="another")
    assert (len(texts()), told["embedded"], told["reused"]) == (4, 4, 0)


def test_an_ingest_without_its_endpoint_keeps_the_documents_says_what_to_do_and_goes_on_later(
    server: ServerProcess, endpoint: ModelEndpoint
) -> None:
    (server.folder / "site" / "ferry.md").write_text("# Ferry\n\nThe ferry leaves at noon.\n")
    elsewhere = {"EMBEDDING_BASE_URL": f"http://127.0.0.1:{free_port()}/v1"}
    done = server.command("server", "ingest", "site", **elsewhere)
    assert done.returncode == 1
    *_, told = [json.loads(line) for line in done.stderr.splitlines()]
    assert (told["event"], told["level"], told["left"]) == ("passages_not_embedded", "WARNING", 1)
    assert (told["failure"], told["status"]) == ("unavailable", "CONNECT_FAILED")
    assert "EMBEDDING_BASE_URL" in told["fix"]
    assert "noon" in ask(server, "When does the ferry leave?")["answer"]
    *_, told = ingest(server)
    assert (told["event"], told["embedded"]) == ("passages_embedded", 1)


def test_what_is_ingested_while_it_serves_is_found_by_its_meaning_soon(
    server: ServerProcess,
) -> None:
    ask(server)
    (server.folder / "site" / "doctors.md").write_text("# Medic on call\n\nCome to the red tent.\n")
    assert ask(server, "Where is a physician?")["answer"] == NO_ANSWER
    ingest(server)
    until(lambda: "red tent" in ask(server, "Where is a physician?")["answer"])
    (server.folder / "site" / "doctors.md").unlink()
    ingest(server)
    assert ask(server, "Where is a physician?")["answer"] == NO_ANSWER


def test_a_start_tells_how_many_passages_have_no_vector_of_the_present_model(
    server: ServerProcess, endpoint: ModelEndpoint
) -> None:
    assert ask(server)["sources"]
    assert not server.events("embeddings_missing")
    server.stop()
    server.settings["EMBEDDING_MODEL"] = "another"
    server.start()
    (told,) = server.wait_for("embeddings_missing")
    assert (told["level"], told["passages"], told["model"]) == ("WARNING", 4, "another")
    assert "python -m server ingest" in told["fix"]
    endpoint.asked.clear()
    assert ask(server, request_id="none")["answer"] == NO_ANSWER
    assert request_of(server, "none")["embedding"] == "no_vectors"
    assert not endpoint.asked


@pytest.mark.parametrize(
    ("behaviour", "failure", "status"),
    [
        (stalls(), "timeout", "TOTAL_TIMEOUT"),
        (embeds(seconds=60), "timeout", "TOTAL_TIMEOUT"),
        (refuses(500), "unavailable", "HTTP_500"),
        (refuses(429, Retry_After="60"), "unavailable", "HTTP_429"),
        (refuses(401), "unavailable", "HTTP_401"),
        (hangs_up(), "unavailable", "DISCONNECTED"),
        (breaks_off(), "cut_off", "CUT_OFF"),
        (redirects("http://127.0.0.1:1/"), "bad_response", "REDIRECT"),
        (page(), "bad_response", "NOT_JSON"),
        (answers(b"nonsense"), "bad_response", "BAD_JSON"),
        (changed(lambda told: told["data"].pop()), "bad_response", "WRONG_COUNT"),
        (embeds(lambda text: meaning(text)[1:]), "bad_response", "WRONG_DIMENSIONS"),
        (embeds(lambda text: [float("nan"), *meaning(text)[1:]]), "bad_response", "BAD_JSON"),
        (embeds(lambda _: [1e308] * 8192 + [0.0]), "bad_response", "BAD_VECTOR"),
    ],
)  # fmt: skip
def test_whatever_the_endpoint_does_a_question_is_answered_by_words_in_time_and_the_log_says_why(
    suffering: tuple[ServerProcess, ModelEndpoint], behaviour: Behaviour, failure: str, status: str
) -> None:
    server, endpoint = suffering
    endpoint.embeds = behaviour
    asked, request_id = len(endpoint.asked), f"visitor-{uuid4().hex}"
    answer = ask(server, BY_WORDS, request_id)
    assert "opens at nine" in answer["answer"]
    assert not answer["metadata"]["degraded"]
    (call,) = server.wait_for("dependency_call", request_id=request_id, dependency="embeddings")
    assert (call["dependency"], call["operation"]) == ("embeddings", "embed_question")
    assert (call["failure"], call["status"]) == (failure, status)
    assert request_of(server, request_id)["embedding"] == failure
    (sent,) = endpoint.asked[asked:]
    assert (sent.headers["X-Request-ID"], sent.headers["Authorization"]) == (request_id, f"Bearer {KEY}")
    assert get(server, "/health")["status"] == "ok"
    endpoint.embeds = embeds()
    for number in range(2):  # more than one, or the breaker would open: half of the calls had failed
        assert ask(server, f"{QUESTION} {request_id} {number}")["sources"]
    assert get(server, "/health")["dependencies"] == {"embeddings": "connected"}


def test_the_breaker_opens_spares_everybody_the_wait_and_closes_when_the_model_is_well(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    with asking(tmp_path, endpoint, LLM_BREAKER_FAILURES="3", LLM_BREAKER_SECONDS="1.5") as server:
        assert get(server, "/health")["dependencies"] == {"embeddings": "unknown"}
        endpoint.embeds = refuses(503)
        for number in range(3):
            assert "nine" in ask(server, f"{BY_WORDS} {number}")["answer"]
        health = get(server, "/health")
        assert (health["status"], health["dependencies"]) == ("ok", {"embeddings": "disconnected"})
        assert get(server, "/health/ready")["status"] == "ready"
        figures = get(server, "/metrics")["embeddings"]
        assert (figures["state"], figures["breaker"], figures["workers_open"]) == ("disconnected", "open", 1)
        assert (figures["calls"], figures["failures"]) == (3, 3)
        assert "nine" in ask(server, BY_WORDS, "spared")["answer"]
        assert request_of(server, "spared")["embedding"] == "circuit_open"
        assert len(endpoint.asked) == 3
        endpoint.embeds = embeds()
        until(lambda: ask(server)["sources"] != [])
        changes = server.wait_for("dependency_state_changed", 2, dependency="embeddings")
        assert [(line["state"], line["reason"]) for line in changes] == [
            ("disconnected", "HTTP_503"),
            ("connected", ""),
        ]


def test_a_question_that_was_asked_lately_is_not_asked_again_and_both_languages_of_the_metrics_say_so(
    server: ServerProcess, endpoint: ModelEndpoint
) -> None:
    for number in range(4):
        ask(server, "How do I  get my\nmoney back?" if number % 2 else QUESTION, f"visitor-{number}")
    assert [request_of(server, f"visitor-{number}")["embedding"] for number in range(4)] == [
        "asked",
        "remembered",
        "remembered",
        "remembered",
    ]
    assert len(endpoint.asked) == 1
    figures = get(server, "/metrics")["embeddings"]
    assert figures == {
        "state": "connected",
        "breaker": "closed",
        "retry_seconds": 0,
        "workers_open": 0,
        "calls": 1,
        "failures": 0,
        "cache_hits": 3,
        "cache_misses": 1,
        "cache_hit_rate_percent": 75.0,
    }
    text = exchange(server.address, request_bytes("GET", "/metrics", {"Accept": "text/plain"})).body.decode()
    samples = dict(line.split(" ") for line in text.splitlines() if line.startswith("chatkit_embedding"))
    assert {name: float(value) for name, value in samples.items()} == {
        "chatkit_embedding_breakers_open": 0,
        **{
            f"chatkit_embedding_{name}_total": figures[name]
            for name in ("calls", "failures", "cache_hits", "cache_misses")
        },
    }


def test_two_workers_answer_with_one_sum_that_outlives_them(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    with asking(tmp_path, endpoint, WORKERS="2") as server:
        for number in range(12):
            assert ask(server, f"{QUESTION} {number}")["sources"]
        until(lambda: get(server, "/metrics")["embeddings"]["calls"] == 12)
        assert {get(server, "/metrics")["embeddings"]["cache_misses"] for _ in range(6)} == {12}
        assert len(server.events("embeddings_missing")) == 0
        server.stop()
        server.start()
        assert get(server, "/metrics")["embeddings"]["calls"] == 12


def test_the_key_is_masked_where_settings_are_shown(server: ServerProcess) -> None:
    (started,) = server.wait_for("server_started")
    assert started["settings"]["EMBEDDING_API_KEY"] == "(set)"
    shown = server.command("server", "check")
    assert KEY.encode() not in shown.stdout + shown.stderr


def test_a_slow_vector_is_told_with_the_endpoints_id_for_it(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    with asking(tmp_path, endpoint, EMBEDDING_TIMEOUT_SECONDS="5") as server:
        endpoint.embeds = embeds(seconds=1.1)
        assert ask(server)["sources"]
        (call,) = server.wait_for("dependency_call", dependency="embeddings")
        assert (call["outcome"], call["upstream_request_id"]) == ("slow", UPSTREAM_ID)


def test_without_a_model_that_embeds_none_of_it_is_imported() -> None:
    names = "('numpy', 'server.chat.hybrid', 'server.chat.vectors', 'server.upstream.embeddings')"
    code = f"import sys, server.__main__, server.app, server.chat.ingest; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, check=True
    )
    assert done.stdout == b"[]\n"
