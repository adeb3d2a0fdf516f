"""The matrix in memory: exact, loaded again when passages change, and never of use for a passage that is not there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from server.chat import vectors as module
from server.chat.passages import Passage
from server.chat.vectors import Vectors
from server.store import chat as documents
from server.store import vectors as kept
from server.store.engine import Store
from server.store.vectors import digest_of
from tests.reading_log import events
from tests.waiting import ENOUGH_SECONDS

MODEL = "one"
DIMENSIONS = 16


def unit(text: str) -> NDArray[np.float32]:
    """A vector that `text` always has."""
    numbers = np.random.default_rng([*text.encode()]).standard_normal(DIMENSIONS)
    found: NDArray[np.float32] = (numbers / np.linalg.norm(numbers)).astype(np.float32)
    return found


async def add(store: Store, name: str, *texts: str) -> None:
    parts = [("Heading", f"a{number}", text) for number, text in enumerate(texts)]
    await documents.replace(
        store, documents.Document(name, name, f"{name}.md", name, "markdown", "", "", parts)
    )


async def embed(store: Store, at_ms: int) -> None:
    parts = await kept.without(store, MODEL, 0, 10_000)
    made = {
        digest_of(MODEL, part.heading, part.text): unit(part.text).astype("<f4").tobytes() for part in parts
    }
    await kept.keep(store, MODEL, parts, made, at_ms)


@asynccontextmanager
async def watched(vectors: Vectors) -> AsyncIterator[None]:
    task = asyncio.create_task(vectors.watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def vectors(database: Store) -> Vectors:
    await add(database, "many", *[f"text{number}" for number in range(40)])
    await embed(database, 1)
    loaded = Vectors(database, MODEL)
    await loaded.refresh()
    return loaded


async def texts(vectors: Vectors, text: str, limit: int = 3, least: float = -1.0) -> list[str]:
    return [one.passage.text for one in await vectors.nearest(unit(text), least, limit, ())]


async def test_the_nearest_are_those_that_a_look_at_each_finds(vectors: Vectors) -> None:
    found = await vectors.nearest(unit("asked"), 0.1, 5, ())
    all_ = sorted(((float(unit(f"text{n}") @ unit("asked")), f"text{n}") for n in range(40)), reverse=True)
    expected = [(text, cosine) for cosine, text in all_[:5] if cosine >= 0.1]
    assert [one.passage.text for one in found] == [text for text, _ in expected]
    assert [one.cosine for one in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)
    number = int(found[0].passage.text.removeprefix("text"))
    assert found[0].passage == Passage(f"many-{number}", "Heading", f"many.md#a{number}", f"text{number}")


async def test_many_pages_make_one_matrix(database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 7)
    await add(database, "many", *[f"text{number}" for number in range(40)])
    await embed(database, 1)
    vectors = Vectors(database, MODEL)
    await vectors.refresh()
    for number in range(40):
        assert await texts(vectors, f"text{number}", 1) == [f"text{number}"]


async def test_a_candidate_is_told_its_cosine_however_far_it_is(vectors: Vectors) -> None:
    candidates = [Passage("many-7", "Heading", "", "text7"), Passage("foreign-0", "Heading", "", "foreign")]
    found = await vectors.nearest(unit("text3"), 0.99, 5, candidates)
    assert [one.passage.id for one in found] == ["many-3", "many-7"]
    assert found[1].passage == candidates[0]
    assert found[1].cosine == pytest.approx(float(unit("text3") @ unit("text7")), abs=1e-5)


async def test_no_cosine_is_more_than_1_and_no_passage_comes_twice(vectors: Vectors) -> None:
    candidates = [Passage(f"many-{number}", "Heading", "", f"text{number}") for number in range(40)]
    found = await vectors.nearest(unit("text3"), -1.0, 40, candidates)
    assert len(found) == len({one.passage.id for one in found}) == 40
    assert found[0].cosine <= 1.0


async def test_a_passage_that_has_gone_or_changed_since_is_not_found(
    database: Store, vectors: Vectors
) -> None:
    await add(database, "many", *[f"other{number}" for number in range(40)])
    # SQLite has given the numbers of those that went to those that came.
    assert await texts(vectors, "text3") == []
    await embed(database, 2)
    assert await texts(vectors, "text3") == []
    await vectors.refresh()
    assert await texts(vectors, "other3", 1) == ["other3"]


async def test_it_is_loaded_again_only_when_passages_have_got_or_lost_vectors(
    database: Store, vectors: Vectors
) -> None:
    before = vectors._matrix
    await vectors.refresh()
    assert vectors._matrix is before
    await add(database, "more", "badger")
    await embed(database, 2)
    await vectors.refresh()
    assert vectors._matrix is not before
    assert await texts(vectors, "badger", 1) == ["badger"]


async def test_after_a_question_it_is_seen_to_and_the_question_does_not_wait(
    database: Store, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    async with watched(vectors), asyncio.timeout(ENOUGH_SECONDS):
        await add(database, "more", "badger")
        await embed(database, 2)
        while await texts(vectors, "badger", 1) != ["badger"]:
            assert await vectors.dimensions() == DIMENSIONS
            await asyncio.sleep(0.01)


async def test_a_question_waits_for_the_first_load_and_not_for_ever(
    database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOADING_SECONDS", 0.05)
    await add(database, "a", "walrus")
    await embed(database, 1)
    vectors = Vectors(database, MODEL)
    assert await vectors.dimensions() is None
    monkeypatch.setattr(module, "LOADING_SECONDS", ENOUGH_SECONDS)
    async with watched(vectors):
        assert await vectors.dimensions() == DIMENSIONS


async def test_a_load_that_goes_wrong_is_reported_and_what_is_there_is_used(
    database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    await add(database, "a", "walrus")
    await embed(database, 1)
    reported: list[Exception] = []
    vectors = Vectors(database, MODEL, report=reported.append)
    await vectors.refresh()
    await add(database, "b", "badger")
    await embed(database, 2)
    monkeypatch.setattr(np, "empty", no_room_for_a_matrix)
    async with watched(vectors), asyncio.timeout(ENOUGH_SECONDS):
        while not reported:
            await asyncio.sleep(0.01)
        assert isinstance(reported[0], MemoryError)
        assert await texts(vectors, "walrus", 1) == ["walrus"]
        monkeypatch.undo()
        while await texts(vectors, "badger", 1) != ["badger"]:
            await vectors.dimensions()
            await asyncio.sleep(0.01)


_empty = np.empty


def no_room_for_a_matrix(shape: int | tuple[int, int], *rest: Any) -> Any:
    """Only numpy itself asks for anything else."""
    if shape == (2, DIMENSIONS):
        raise MemoryError
    return _empty(shape, *rest)


async def test_a_vector_of_another_size_is_near_to_nothing(vectors: Vectors) -> None:
    assert await vectors.nearest(np.ones(3, np.float32), -1.0, 5, ()) == []


async def test_a_vector_of_another_size_in_the_store_is_left_out(database: Store, vectors: Vectors) -> None:
    await add(database, "odd", "odd one")
    (part,) = await kept.without(database, MODEL, 0, 10)
    made = {digest_of(MODEL, part.heading, part.text): np.ones(3, "<f4").tobytes()}
    await kept.keep(database, MODEL, [part], made, 2)
    await vectors.refresh()
    assert await texts(vectors, "text3", 1) == ["text3"]
    assert "odd one" not in await texts(vectors, "odd one", 100)


async def test_a_vector_that_is_no_number_is_near_to_nothing(database: Store, vectors: Vectors) -> None:
    await add(database, "odd", "odd one")
    (part,) = await kept.without(database, MODEL, 0, 10)
    made = {digest_of(MODEL, part.heading, part.text): np.full(DIMENSIONS, np.nan, "<f4").tobytes()}
    await kept.keep(database, MODEL, [part], made, 2)
    await vectors.refresh()
    assert len(await texts(vectors, "text3", 100)) == 40


async def test_without_vectors_there_is_nothing_to_be_near_to(database: Store) -> None:
    vectors = Vectors(database, MODEL)
    await vectors.refresh()
    assert await vectors.dimensions() is None
    assert await vectors.nearest(unit("x"), -1.0, 5, ()) == []


@pytest.mark.parametrize("tells", [True, False])
async def test_how_many_passages_have_no_vector_is_told_once_by_who_tells(
    database: Store, tells: bool
) -> None:
    await add(database, "a", "walrus", "badger")
    vectors = Vectors(database, MODEL, tells=tells)
    with events() as logged:
        await vectors.refresh()
        await vectors.refresh()
    told = [(line["event"], line["passages"], line["model"]) for line in logged]
    assert told == ([("embeddings_missing", 2, MODEL)] if tells else [])


async def test_where_every_passage_has_its_vector_nothing_is_told(database: Store) -> None:
    await add(database, "a", "walrus")
    await embed(database, 1)
    with events() as logged:
        await Vectors(database, MODEL).refresh()
    assert logged == []
