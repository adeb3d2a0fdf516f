"""Vectors of passages, on both databases: kept by what they were made of, and never another passage's."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store import chat as documents
from server.store import vectors
from server.store.engine import Store
from server.store.vectors import Part, digest_of

MODEL = "one"


def vector(*numbers: float) -> bytes:
    return np.array(numbers, dtype="<f4").tobytes()


async def add(store: Store, name: str, *texts: str) -> None:
    parts = [("Heading", f"a{number}", text) for number, text in enumerate(texts)]
    await documents.replace(
        store, documents.Document(name, name, f"{name}.md", name, "markdown", "", "", parts)
    )


async def embed(store: Store, model: str = MODEL, at_ms: int = 1) -> int:
    """Give every passage that has none a vector; how many that are."""
    parts = await vectors.without(store, model, 0, 100)
    made = {digest_of(model, part.heading, part.text): vector(float(len(part.text)), 1.0) for part in parts}
    await vectors.keep(store, model, parts, made, at_ms)
    return len(parts)


async def held(store: Store, model: str = MODEL) -> list[bytes]:
    return [row.vector for row in await vectors.stored(store, model, 0, 100)]


@given(
    one=st.tuples(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9)),
    other=st.tuples(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9)),
)
def test_what_differs_in_anything_has_another_digest(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (digest_of(*one) == digest_of(*other)) == (one == other)


def test_a_digest_tells_where_one_part_ends_and_the_next_begins() -> None:
    assert len({digest_of("a", "b", "cd"), digest_of("a", "bc", "d"), digest_of("ab", "", "cd")}) == 3


async def test_a_passage_has_the_vector_it_was_given(database: Store) -> None:
    await add(database, "a", "walrus", "badger!")
    assert await vectors.missing(database, MODEL) == 2
    assert await embed(database) == 2
    assert await vectors.missing(database, MODEL) == 0
    assert await held(database) == [vector(6, 1), vector(7, 1)]
    assert await vectors.dimensions(database, MODEL) == 2
    (first, second) = await vectors.stored(database, MODEL, 0, 100)
    assert await vectors.stored(database, MODEL, first.passage_id, 100) == [second]


async def test_another_model_finds_nothing_and_takes_over_what_it_embeds(database: Store) -> None:
    await add(database, "a", "walrus")
    await embed(database)
    assert await vectors.missing(database, "other") == 1
    assert await held(database, "other") == []
    assert await vectors.dimensions(database, "other") is None
    await embed(database, "other")
    assert (await vectors.missing(database, "other"), await vectors.missing(database, MODEL)) == (0, 1)


async def test_a_document_that_is_replaced_still_knows_the_vectors_of_what_stayed(database: Store) -> None:
    await add(database, "a", "walrus", "badger")
    await embed(database)
    await add(database, "a", "badger", "otter")
    parts = await vectors.without(database, MODEL, 0, 100)
    assert [part.text for part in parts] == ["badger", "otter"]
    digests = {digest_of(MODEL, part.heading, part.text): part.text for part in parts}
    assert [digests[digest] for digest in await vectors.known(database, digests)] == ["badger"]


async def test_what_no_passage_has_is_pruned_and_nothing_else(database: Store) -> None:
    await add(database, "a", "walrus", "badger")
    await add(database, "b", "walrus")
    await embed(database)
    await documents.remove(database, "a")
    await vectors.prune(database)
    assert await held(database) == [vector(6, 1)]
    texts = ("walrus", "badger")
    assert await vectors.known(database, [digest_of(MODEL, "Heading", text) for text in texts]) == {
        digest_of(MODEL, "Heading", "walrus")
    }


async def test_what_is_forgotten_is_made_anew(database: Store) -> None:
    await add(database, "a", "walrus")
    await embed(database)
    await vectors.forget(database, "other")
    assert await vectors.missing(database, MODEL) == 0
    await vectors.forget(database, MODEL)
    assert await vectors.missing(database, MODEL) == 1


async def test_a_passage_that_went_or_became_another_meanwhile_gets_no_vector(database: Store) -> None:
    await add(database, "a", "walrus")
    (part,) = await vectors.without(database, MODEL, 0, 100)
    await documents.remove(database, "a")
    made = {digest_of(MODEL, part.heading, part.text): vector(1, 0)}
    await vectors.keep(database, MODEL, [part], made, 1)
    assert await held(database) == []
    await add(database, "b", "badger")
    (other,) = await vectors.without(database, MODEL, 0, 100)
    # As SQLite does, which gives the number of a passage that has gone to the next one.
    await vectors.keep(database, MODEL, [Part(other.id, part.heading, part.text)], made, 1)
    assert await held(database) == []


async def test_a_passage_is_found_by_its_number_only_with_its_digest(database: Store) -> None:
    await add(database, "a", "walrus", "badger")
    await embed(database)
    (first, second) = await vectors.stored(database, MODEL, 0, 100)
    found = await vectors.passages_of(
        database, {first.passage_id: first.digest, second.passage_id: first.digest, 10**6: first.digest}
    )
    assert {number: tuple(row) for number, row in found.items()} == {
        first.passage_id: ("a", 0, "a.md", "a0", "Heading", "walrus")
    }


@pytest.mark.parametrize("at_ms", [1, 1_800_000_000_000])
async def test_the_stamp_differs_whenever_vectors_came_or_went(database: Store, at_ms: int) -> None:
    seen = [await vectors.stamp(database)]
    await add(database, "a", "walrus", "badger")
    await embed(database, at_ms=at_ms)
    seen.append(await vectors.stamp(database))
    await add(database, "a", "otter", "vole")
    seen.append(await vectors.stamp(database))
    await embed(database, at_ms=at_ms + 1)
    seen.append(await vectors.stamp(database))
    await documents.remove(database, "a")
    seen.append(await vectors.stamp(database))
    assert all(before != after for before, after in pairwise(seen))
