"""What a question costs in 10,000 passages, on SQLite and on PostgreSQL, beside what the same two queries cost without a server.

    python -m tests.bench.question

The passages are made up from a vocabulary with the frequencies of natural language (Zipf), together with the project's own
documents. Every question is asked in turn of the bare database (`sqlite3` or asyncpg, same data, same SQL, same parameters), of the
retriever, of the whole turn in this process, and over HTTP of a real server, so that what else the machine does falls on all
alike. The promise: a question costs the server at most four times the database's own time, by the medians. It was three before a turn
was kept: that takes two transactions, which on a machine with few cores cost as much as the search's Python. The database alone is at its
best here, since it was asked the very same just before.
"""

import asyncio
import http.client
import random
import sqlite3
import statistics
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import asyncpg
import orjson
import uvloop

from pipeline.log import log
from server.chat.extract import ExtractiveAnswerer
from server.chat.ingest import ingest
from server.chat.models import Question
from server.chat.passages import SEPARATOR
from server.chat.retrieval import FullTextRetriever
from server.chat.service import Chat
from server.store import chat as documents
from server.store import fulltext, migrate
from server.store.dialects import Fetch, Row
from server.store.engine import Store
from tests.harness import ServerProcess, running
from tests.postgres import Postgres
from tests.server.chat.asking import asked as answered
from tests.system import which

ROOT = Path(__file__).parents[2]
PASSAGES = 10_000
QUESTIONS = 300
PROMISED = 4.0
_A_DOCUMENT = 25
_VOCABULARY = 30_000
_SYLLABLES = "ba be bi bo da de di do fa fe ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe ra re ri ro sa se si so ta te ti to va ve vi vo".split()
_COMMON = (
    "the of to and a in is for that on with by as it be are this from or at an if not you can when which request server log page "
    "user time file error set name start stop read write open close value list key line event session message answer"
).split()


def passages(rng: random.Random, count: int) -> list[tuple[str, str, str]]:
    """`count` passages of about 130 words as (heading, anchor, text); the frequency of a word falls with its rank."""
    words = [*_COMMON]
    known = set(words)
    while len(words) < _VOCABULARY:
        word = "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4)))
        if word not in known:
            known.add(word)
            words.append(word)
    weights = [1 / (rank + 2.7) for rank in range(len(words))]
    made = []
    for number in range(count):
        picked = rng.choices(words, weights, k=rng.randint(90, 170))
        sentences = [" ".join(picked[at : at + 14]).capitalize() + "." for at in range(0, len(picked), 14)]
        heading = f"Document {number // _A_DOCUMENT} {SEPARATOR.strip()} {' '.join(rng.choices(words, weights, k=3))}"
        made.append((heading, f"part-{number}", " ".join(sentences)))
    return made


def questions(rng: random.Random, texts: Sequence[tuple[str, str, str]], count: int) -> list[str]:
    """Questions as visitors ask them: a few words that stand near each other in some passage."""
    asked = []
    for _ in range(count):
        text = rng.choice(texts)[2].split()
        start = rng.randrange(len(text) - 12)
        asked.append(f"How do I {' '.join(rng.sample(text[start : start + 12], rng.randint(3, 7)))}?")
    return asked


class _Recorder:
    """A store that takes down the statements of one search, so that the bare database is asked exactly the same."""

    def __init__(self, store: Store, bare: Fetch) -> None:
        self.dialect = store.dialect
        self.statements: list[tuple[str, Sequence[Any]]] = []
        self._bare = bare

    @asynccontextmanager
    async def fetching(self, _operation: str) -> AsyncIterator[Fetch]:
        async def fetch(sql: str, parameters: Sequence[Any]) -> Sequence[Row]:
            self.statements.append((sql, parameters))
            return await self._bare(sql, parameters)

        yield fetch


@asynccontextmanager
async def _bare(url: str) -> AsyncIterator[Fetch]:
    """The database without anything of ours."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.partition(":///")[2])

        async def fetch(sql: str, parameters: Sequence[Any]) -> Sequence[Row]:
            return connection.execute(sql, parameters).fetchall()

        yield fetch
        connection.close()
    else:
        driver = await asyncpg.connect(url)
        yield lambda sql, parameters: driver.fetch(sql, *parameters)
        await driver.close()


async def measure(
    folder: Path, url: str, *, count: int = PASSAGES, asked: int = QUESTIONS
) -> dict[str, float]:
    """Milliseconds (medians, and 95th percentiles where named) and the ratio to the time of the database at `url`, which is empty."""
    log.direct(None, level="ERROR")
    rng = random.Random(20260101)
    await migrate.upgrade(url)
    store = Store(url, patient=True)
    try:
        texts = passages(rng, count)
        started = perf_counter()
        for start in range(0, count, _A_DOCUMENT):
            await documents.replace(store, _document(start, texts[start : start + _A_DOCUMENT]))
        stored = (perf_counter() - started) / count
        await ingest(store, [path for path in (ROOT / "docs", ROOT / "README.md") if path.exists()])
        await fulltext.of(store).tidy(store)
        with running(folder, DATABASE_URL=url, INTEGRATION_TEST_MODE="false") as server:
            async with _bare(url) as bare:
                figures = await _compared(store, bare, questions(rng, texts, asked), server)
        return figures | {"stored_ms": stored * 1e3}
    finally:
        await store.close()
        log.direct(None)


def _document(number: int, parts: Sequence[tuple[str, str, str]]) -> documents.Document:
    name = f"made-up/{number:05}.md"
    return documents.Document(f"{number:016x}", name, name, name, "markdown", "", "", parts)


async def _compared(
    store: Store, bare: Fetch, asked: Sequence[str], server: ServerProcess
) -> dict[str, float]:
    retriever = FullTextRetriever(store)
    chat = Chat(retriever, ExtractiveAnswerer())
    visitor = http.client.HTTPConnection(*server.address)
    times: dict[str, list[float]] = {"database": [], "retrieval": [], "turn": [], "visitor": []}
    for message in asked:
        recorder = _Recorder(store, bare)
        await FullTextRetriever(cast("Store", recorder)).search(message, 12)
        started = perf_counter()
        for sql, parameters in recorder.statements:
            await bare(sql, parameters)
        times["database"].append(perf_counter() - started)
        started = perf_counter()
        await retriever.search(message, 12)
        times["retrieval"].append(perf_counter() - started)
        question = Question(message=message)
        started = perf_counter()
        await answered(chat, question)
        times["turn"].append(perf_counter() - started)
        body = orjson.dumps({"message": message})
        started = perf_counter()
        visitor.request("POST", "/api/v1/chat", body, {"Content-Type": "application/json"})
        answer = visitor.getresponse()
        answer.read()
        times["visitor"].append(perf_counter() - started)
        assert answer.status == 200
        # Two processes share the cores: the next measurement waits until the server has put its pen down.
        await asyncio.sleep(0.005)
    visitor.close()
    # What the server itself says it took: from the first middleware to the last byte handed over.
    told = server.wait_for("http_request", len(asked), route="/api/v1/chat")
    times["server"] = [event["duration_ms"] / 1e3 for event in told]
    figures = {f"{name}_p50_ms": statistics.median(taken) * 1e3 for name, taken in times.items()}
    figures |= {
        f"{name}_p95_ms": statistics.quantiles(taken, n=20)[-1] * 1e3 for name, taken in times.items()
    }
    return figures | {"ratio": figures["server_p50_ms"] / figures["database_p50_ms"]}


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """The figures of each kind of database, for people."""
    rows = [
        f"{'':26}" + "".join(f"{kind:>24}" for kind in found),
        f"{'':26}" + f"{'p50':>12}{'p95':>12}" * len(found),
    ]
    for name, label in (
        ("database", "the database alone"),
        ("retrieval", "found and ranked"),
        ("turn", "the whole turn"),
        ("server", "the server, by its log"),
        ("visitor", "the visitor, over HTTP"),
    ):
        cells = [
            f"{figures[f'{name}_{which}_ms']:9.2f} ms"
            for figures in found.values()
            for which in ("p50", "p95")
        ]
        rows.append(f"{label:26}{''.join(cells)}")
    rows.append(
        f"{'to store a passage':26}"
        + "".join(f"{each['stored_ms']:9.2f} ms{'':12}" for each in found.values())
    )
    ratios = "".join(f"{each['ratio']:9.2f}{'':15}" for each in found.values())
    rows.append(f"{'server / database':26}{ratios}(promised: at most {PROMISED:g})")
    if len(found) > 1:
        first, second = found.values()
        rows.append(
            f"{'PostgreSQL / SQLite':26}{second['server_p50_ms'] / first['server_p50_ms']:9.2f}    (by the server's log)"
        )
    return "\n".join(rows)


def main() -> dict[str, Mapping[str, float]]:
    """Measure and print; PostgreSQL where it is installed."""
    found: dict[str, Mapping[str, float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        file = Path(folder, "sqlite", "bench.db")
        found["SQLite"] = runner.run(measure(file.parent, f"sqlite+aiosqlite:///{file}"))
        if which("postgres") is not None:
            server = Postgres().start()
            try:
                url = server.url(server.database())
                found["PostgreSQL"] = runner.run(measure(Path(folder, "postgresql"), url))
            finally:
                server.close()
    print(table(found))
    return found


if __name__ == "__main__":
    main()
