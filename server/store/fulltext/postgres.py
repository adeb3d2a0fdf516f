"""Full text on PostgreSQL: a `tsvector` of stems for each passage, and a GIN index over them.

The stems are made here, by `server.chat.words`, and not by `to_tsvector`: PostgreSQL's own parser takes `docs/how-to` for one word and a
letter with an accent for another letter, and what it does depends on the locale of the database. So both databases hold the same
stems, and no extension is needed (`docs/decisions/0021-postgresql.md`).

`ts_rank` reads every passage that it ranks, and knows nothing of how rare a word is. A sum over the index alone is quicker and
closer to BM25, but an index knows only whether a passage holds a word, not how often. So a word that occurs often in a passage is there
under further names: `walrus`, from twice on `walrus+2` too, then `walrus+4`, `walrus+8`. What the next name adds is what BM25 gives for
so many occurrences more. No stem holds a `+`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from server.chat.words import stem, words
from server.store.dialects import Fetch, Row
from server.store.engine import Store

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_HEADING_WEIGHT = 3
"""As in FTS5's `bm25(3.0, 1.0)`."""
_K1 = 1.2
"""Of BM25, as FTS5 has it: how soon further occurrences stop to matter. Passages are of about one length."""
_LEVELS = (1, 2, 4, 8)
_LONGEST = 400
"""Characters of a stem that count. PostgreSQL takes 2,046 bytes, and a character can have four."""

_FREQUENCIES = """
    SELECT
        (SELECT coalesce(sum(passages), 0) FROM documents),
        ARRAY(
            SELECT (SELECT count(*) FROM passages_fts WHERE stems @@ word)
            FROM unnest($1::text[]::tsquery[]) WITH ORDINALITY AS asked(word, place) ORDER BY place
        )
"""
_CANDIDATES = """
    SELECT p.document_id, p.position, d.url, p.anchor, p.heading, p.text
    FROM (
        SELECT id, sum(weight) AS weight
        FROM unnest($1::text[]::tsquery[], $2::float8[]) AS asked(word, weight)
        JOIN passages_fts ON stems @@ word
        GROUP BY id ORDER BY 2 DESC, id LIMIT $3
    ) AS found
    JOIN passages AS p ON p.id = found.id
    JOIN documents AS d ON d.id = p.document_id
    ORDER BY found.weight DESC, found.id
"""
_INDEX = """
    INSERT INTO passages_fts (id, stems)
    SELECT id, array_to_tsvector(CAST(:stems AS text[])) FROM passages
    WHERE document_id = :document_id AND position = :position
"""


async def frequencies(fetch: Fetch, words: Sequence[str]) -> tuple[int, Sequence[int]]:
    """See `FullText`."""
    ((total, counts),) = await fetch(_FREQUENCIES, [[_query(_stem(word)) for word in words]])
    return int(total), counts


async def candidates(fetch: Fetch, words: Mapping[str, float], limit: int) -> Sequence[Row]:
    """See `FullText`: weighed by the words' weights and BM25's saturation."""
    asked = [
        (_query(_name(_stem(word), level)), weight * gained)
        for word, weight in words.items()
        for level, gained in _GAINED
    ]
    return await fetch(_CANDIDATES, [[query for query, _ in asked], [weight for _, weight in asked], limit])


async def index(
    connection: "AsyncConnection", document_id: str, passages: Sequence[tuple[str, str, str]]
) -> None:
    """See `FullText`."""
    from sqlalchemy import text

    rows = [
        {"document_id": document_id, "position": position, "stems": list(_names(heading, content))}
        for position, (heading, _, content) in enumerate(passages)
    ]
    if rows:
        await connection.execute(text(_INDEX), rows)


async def tidy(store: Store) -> None:
    """Let go of what was replaced, and bring into the index what still waits beside it; nobody who reads or writes waits."""
    async with store.reading("tidy") as connection:
        await connection.exec_driver_sql("VACUUM (ANALYZE) passages_fts")


def _names(heading: str, text: str) -> Iterator[str]:
    """Under which names a passage is found."""
    occurrences = Counter(map(_stem, words(text)))
    for word in words(heading):
        occurrences[_stem(word)] += _HEADING_WEIGHT
    for name, count in occurrences.items():
        for level in _LEVELS:
            if count >= level:
                yield _name(name, level)


def _gained(level: int, before: int) -> float:
    """What BM25 gives for `level` occurrences more than for `before`."""
    return level * (_K1 + 1) / (level + _K1) - before * (_K1 + 1) / (before + _K1)


_GAINED = tuple(
    (level, _gained(level, before)) for level, before in zip(_LEVELS, (0, *_LEVELS), strict=False)
)


def _stem(word: str) -> str:
    return stem(word)[:_LONGEST]


def _name(stem: str, level: int) -> str:
    return stem if level == 1 else f"{stem}+{level}"


def _query(name: str) -> str:
    """`name` as a `tsquery`, in which nothing is an operator."""
    return "'" + name.replace("\\", "\\\\").replace("'", "''") + "'"
