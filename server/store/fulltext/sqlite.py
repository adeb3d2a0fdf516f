"""Full text on SQLite, by FTS5, whose index stems words itself and is kept in step by triggers.

Words are quoted, so no question can be a syntax error.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from server.store.dialects import Fetch, Row
from server.store.engine import Store

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_MERGE_PAGES = 500

# `heading` counts for more than `text`: a section about a thing names it there.
_CANDIDATES = """
    SELECT p.document_id, p.position, d.url, p.anchor, p.heading, p.text
    FROM (
        SELECT rowid AS id FROM passages_fts WHERE passages_fts MATCH ? AND rank MATCH 'bm25(3.0, 1.0)'
        ORDER BY rank LIMIT ?
    ) AS found
    JOIN passages AS p ON p.id = found.id
    JOIN documents AS d ON d.id = p.document_id
"""


async def frequencies(fetch: Fetch, words: Sequence[str]) -> tuple[int, Sequence[int]]:
    """See `FullText`."""
    counts = ", (SELECT count(*) FROM passages_fts WHERE passages_fts MATCH ?)" * len(words)
    sql = "SELECT (SELECT total(passages) FROM documents)" + counts  # noqa: S608 - only `?` is repeated
    (row,) = await fetch(sql, [_quoted(word) for word in words])
    return int(row[0]), row[1:]


async def candidates(fetch: Fetch, words: Mapping[str, float], limit: int) -> Sequence[Row]:
    """See `FullText`: weighed by FTS5's own BM25."""
    return await fetch(_CANDIDATES, [" OR ".join(map(_quoted, words)), limit])


async def index(
    connection: "AsyncConnection", document_id: str, passages: Sequence[tuple[str, str, str]]
) -> None:
    """See `FullText`: the triggers have done it."""


async def tidy(store: Store) -> None:
    """Merge what many small writes left of the index.

    In small steps, each its own transaction, so that nobody who writes waits long (https://sqlite.org/fts5.html#the_merge_command).
    """
    pages = -_MERGE_PAGES  # negative: begin to merge everything into one
    while True:
        async with store.writing("tidy") as connection:
            before = (await connection.exec_driver_sql("SELECT total_changes()")).scalar_one()
            await connection.exec_driver_sql(
                "INSERT INTO passages_fts(passages_fts, rank) VALUES ('merge', ?)", (pages,)
            )
            after = (await connection.exec_driver_sql("SELECT total_changes()")).scalar_one()
        # The statement itself counts as one change; less than two means that there was nothing to merge.
        if after - before < 2:
            return
        pages = _MERGE_PAGES


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'
