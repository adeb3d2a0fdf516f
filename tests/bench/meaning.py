"""What finding by meaning costs in 10,000 passages of 1,536 dimensions, beside the bare product of the matrix with a vector.

    python -m tests.bench.meaning

The vectors are random; how long the product takes does not depend on what they mean. The endpoint that embeds the question is not in it: its
time is its own. The promise: the nearest passages are found within five times the product alone, what they say included, and memory for the vectors is little more
than their numbers.
"""

import asyncio
import random
import resource
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from pipeline.log import log
from server.chat.retrieval import FullTextRetriever
from server.chat.vectors import Vectors
from server.store import chat as documents
from server.store import migrate, vectors
from server.store.engine import Store
from server.store.vectors import digest_of
from tests.bench.question import passages

PASSAGES = 10_000
DIMENSIONS = 1_536
QUESTIONS = 100
PROMISED = 5.0
MODEL = "random"
_A_DOCUMENT = 25


async def measure(url: str, *, count: int = PASSAGES, asked: int = QUESTIONS) -> dict[str, float]:
    """Milliseconds (medians), bytes of memory a passage, and the ratio to the product alone; the database at `url` is empty."""
    log.direct(None, level="ERROR")
    await migrate.upgrade(url)
    store = Store(url, patient=True)
    try:
        await _fill(store, count)
        found = Vectors(store, MODEL)
        before, started = _resident(), perf_counter()
        await found.refresh()
        loaded, taken = perf_counter() - started, _resident() - before
        return {
            "loaded_ms": loaded * 1e3,
            "bytes_a_passage": taken / count,
            "numbers_bytes": 4.0 * DIMENSIONS,
            **await _compared(store, found, asked),
        }
    finally:
        await store.close()
        log.direct(None)


async def _fill(store: Store, count: int) -> None:
    texts = passages(random.Random(20260101), count)
    for start in range(0, count, _A_DOCUMENT):
        name = f"made-up/{start:05}.md"
        parts = texts[start : start + _A_DOCUMENT]
        await documents.replace(
            store, documents.Document(f"{start:016x}", name, name, name, "markdown", "", "", parts)
        )
    chance, after = np.random.default_rng(20260101), 0
    while bare := await vectors.without(store, MODEL, after, 500):
        after = bare[-1].id
        numbers = chance.standard_normal((len(bare), DIMENSIONS))
        numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
        rows = [row.tobytes() for row in numbers.astype("<f4")]
        names = [digest_of(MODEL, part.heading, part.text) for part in bare]
        await vectors.keep(store, MODEL, bare, dict(zip(names, rows, strict=True)), 1)


async def _compared(store: Store, found: Vectors, asked: int) -> dict[str, float]:
    chance = np.random.default_rng(7)
    matrix = found._matrix
    assert matrix is not None
    words = FullTextRetriever(store)
    times: dict[str, list[float]] = {"product": [], "nearest": [], "words": []}
    for number in range(asked):
        vector = chance.standard_normal(DIMENSIONS).astype(np.float32)
        vector /= np.linalg.norm(vector)
        started = perf_counter()
        matrix.rows @ vector
        times["product"].append(perf_counter() - started)
        started = perf_counter()
        # From far below any sensible bound on, so that all that is asked for is found.
        near = await found.nearest(vector, 0.01, 16, ())
        times["nearest"].append(perf_counter() - started)
        assert len(near) == 16
        started = perf_counter()
        await words.search(" ".join(near[number % 16].passage.text.split()[:6]), 12)
        times["words"].append(perf_counter() - started)
    figures = {f"{name}_p50_ms": statistics.median(taken) * 1e3 for name, taken in times.items()}
    return figures | {"ratio": figures["nearest_p50_ms"] / figures["product_p50_ms"]}


def _resident() -> float:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * float(resource.getpagesize())


def main() -> dict[str, float]:
    """Measure, print, and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(f"sqlite+aiosqlite:///{folder}/chatkit.db"))
    print(f"{'the matrix is loaded in':32}{found['loaded_ms']:10.0f} ms")
    print(
        f"{'memory for each passage':32}{found['bytes_a_passage'] / 1000:10.2f} kB, of which its numbers are {found['numbers_bytes'] / 1000:.2f}"
    )
    print(f"{'the product alone':32}{found['product_p50_ms']:10.2f} ms")
    print(
        f"{'the nearest passages':32}{found['nearest_p50_ms']:10.2f} ms, {found['ratio']:.2f} of that; promised: {PROMISED:.0f}"
    )
    print(f"{'for comparison: by words':32}{found['words_p50_ms']:10.2f} ms")
    return found


if __name__ == "__main__":
    main()
