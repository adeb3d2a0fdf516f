"""What passages mean, as vectors: by which digest each is kept, which passage has which, and whether that has changed.

A vector is kept by the digest of what it was made of, so a document that is replaced pays for its new passages only. A passage has one
vector, of the model that was last used; it goes with the passage.

SQLite gives the number of a deleted passage to a new one. So whatever is known of a passage by its number is held against its digest
before it is used.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .dialects import Row
from .engine import Store

if TYPE_CHECKING:
    from sqlalchemy import FromClause, Select


class Part(NamedTuple):
    """A passage, as far as its vector goes."""

    id: int
    heading: str
    text: str


class Stored(NamedTuple):
    """A passage's vector: float32, little-endian, of length 1."""

    passage_id: int
    digest: str
    vector: bytes


def digest_of(model: str, heading: str, text: str) -> str:
    """By what the vector that `model` makes of a passage is kept: SHA-256 in 64 hex digits."""
    hashed = hashlib.sha256()
    for part in (model, heading, text):
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(encoded) + encoded)
    return hashed.hexdigest()


async def missing(store: Store, model: str) -> int:
    """How many passages have no vector of `model`. Raises ``StoreUnavailable``, as all here do."""
    from sqlalchemy import func, select

    async with store.reading("count_missing_vectors") as connection:
        counted = _without(select(func.count()), model)
        return int((await connection.execute(counted)).scalar_one())


async def without(store: Store, model: str, after: int, limit: int) -> list[Part]:
    """The first `limit` passages beyond the one with the number `after` that have no vector of `model`."""
    from sqlalchemy import select

    from .tables import passages

    wanted = _without(select(passages.c.id, passages.c.heading, passages.c.text), model)
    async with store.reading("passages_without_vector") as connection:
        rows = await connection.execute(
            wanted.where(passages.c.id > after).order_by(passages.c.id).limit(limit)
        )
        return [Part(*row) for row in rows]


async def known(store: Store, digests: Collection[str]) -> set[str]:
    """Which of `digests` a vector is kept by."""
    from sqlalchemy import select

    from .tables import vectors

    async with store.reading("known_vectors") as connection:
        found = await connection.execute(select(vectors.c.digest).where(vectors.c.digest.in_(digests)))
        return set(found.scalars())


async def dimensions(store: Store, model: str) -> int | None:
    """How many numbers the vectors of `model` have; None when there are none."""
    from sqlalchemy import func, select

    from .tables import vectors

    size = select(func.length(vectors.c.vector)).where(vectors.c.model == model).limit(1)
    async with store.reading("vector_dimensions") as connection:
        found = (await connection.execute(size)).scalar_one_or_none()
    return None if found is None else int(found) // 4


async def keep(
    store: Store, model: str, parts: Sequence[Part], made: Mapping[str, bytes], at_ms: int
) -> None:
    """Give `parts` their vectors of `model`, those in `made` (by digest) or others that are kept; one transaction.

    A passage that has gone or changed meanwhile gets none.
    """
    from sqlalchemy import select

    from .tables import passage_vectors, passages, vectors

    ids = [part.id for part in parts]
    wanted = {part.id: digest_of(model, part.heading, part.text) for part in parts}
    async with store.writing("keep_vectors") as connection:
        there = select(passages.c.id, passages.c.heading, passages.c.text).where(passages.c.id.in_(ids))
        rows = await connection.execute(
            there.order_by(passages.c.id).with_for_update(read=True, key_share=True)
        )
        same = [row.id for row in rows if digest_of(model, row.heading, row.text) == wanted[row.id]]
        # In the order of their names, so that no two ingests wait for each other.
        for digest in sorted(made):
            vector = {"digest": digest, "model": model, "vector": made[digest]}
            await connection.execute(store.dialect.upsert(vectors, vector))
        for passage_id in same:
            its = {"passage_id": passage_id, "digest": wanted[passage_id], "embedded_at": at_ms}
            await connection.execute(store.dialect.upsert(passage_vectors, its))


async def forget(store: Store, model: str) -> None:
    """Forget every vector of `model`, so that an ingest makes them anew."""
    from .tables import vectors

    async with store.writing("forget_vectors") as connection:
        await connection.execute(vectors.delete().where(vectors.c.model == model))


async def prune(store: Store) -> None:
    """Forget the vectors that no passage has any more."""
    from sqlalchemy import exists

    from .tables import passage_vectors, vectors

    used = exists().where(passage_vectors.c.digest == vectors.c.digest)
    async with store.writing("prune_vectors") as connection:
        await connection.execute(vectors.delete().where(~used))


async def stamp(store: Store) -> tuple[int, ...]:
    """What differs when passages have got or lost vectors: how many have one, and since when."""
    from sqlalchemy import func, select

    from .tables import passage_vectors

    at = passage_vectors.c.embedded_at
    async with store.reading("vectors_stamp") as connection:
        row = (await connection.execute(select(func.count(), func.max(at), func.sum(at)))).one()
    return tuple(int(value or 0) for value in row)


async def stored(store: Store, model: str, after: int, limit: int) -> list[Stored]:
    """The vectors of `model` of the first `limit` passages beyond the one with the number `after`."""
    from sqlalchemy import select

    from .tables import passage_vectors, vectors

    wanted = (
        select(passage_vectors.c.passage_id, vectors.c.digest, vectors.c.vector)
        .join_from(passage_vectors, vectors, passage_vectors.c.digest == vectors.c.digest)
        .where(vectors.c.model == model, passage_vectors.c.passage_id > after)
        .order_by(passage_vectors.c.passage_id)
        .limit(limit)
    )
    async with store.reading("load_vectors") as connection:
        return [Stored(*row) for row in await connection.execute(wanted)]


async def passages_of(store: Store, digests: Mapping[int, str]) -> dict[int, Row]:
    """By their numbers the passages that still have the vectors of these `digests`, as `fulltext` has them."""
    from sqlalchemy import select

    from .tables import documents, passage_vectors, passages

    wanted = (
        select(
            passages.c.id,
            passage_vectors.c.digest,
            passages.c.document_id,
            passages.c.position,
            documents.c.url,
            passages.c.anchor,
            passages.c.heading,
            passages.c.text,
        )
        .join_from(passages, documents, passages.c.document_id == documents.c.id)
        .join(passage_vectors, passage_vectors.c.passage_id == passages.c.id)
        .where(passages.c.id.in_(digests))
    )
    async with store.reading("nearest_passages") as connection:
        rows = await connection.execute(wanted)
        return {number: row for number, digest, *row in rows if digests[number] == digest}


def _without(wanted: "Select[Any]", model: str) -> "Select[Any]":
    """`wanted` of the passages that have no vector of `model`."""
    from .tables import passage_vectors, passages, vectors

    with_vectors: FromClause = passages.outerjoin(
        passage_vectors, passage_vectors.c.passage_id == passages.c.id
    ).outerjoin(vectors, (vectors.c.digest == passage_vectors.c.digest) & (vectors.c.model == model))
    return wanted.select_from(with_vectors).where(vectors.c.digest.is_(None))
