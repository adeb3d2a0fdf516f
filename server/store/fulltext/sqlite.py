"""Full text on SQLite: how often words occur, and the passages that hold them, both by FTS5.

Words arrive folded, as letters and digits only, and are quoted on top of that, so no question can be a syntax error.
The index stems them itself.
"""

from collections.abc import Sequence

from .engine import Fetch, Row, Store

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
    """How many passages there are, and how many of them hold each of `words`; one statement."""
    counts = ", (SELECT count(*) FROM passages_fts WHERE passages_fts MATCH ?)" * len(words)
    sql = "SELECT (SELECT total(passages) FROM documents)" + counts  # noqa: S608 - only `?` is repeated
    (row,) = await fetch(sql, [_quoted(word) for word in words])
    return int(row[0]), row[1:]


async def candidates(fetch: Fetch, words: Sequence[str], limit: int) -> Sequence[Row]:
    """The `limit` passages that hold most of `words`, weighed by BM25: document, position, url, anchor, heading, text."""
    return await fetch(_CANDIDATES, [" OR ".join(map(_quoted, words)), limit])


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


async def tidy(store: Store) -> None:
    """Merge what many small writes left of the index, so that a search reads few places.

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
