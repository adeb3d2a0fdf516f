"""Documents and their passages: how they come into the store and leave it, each document whole."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import fulltext
from .engine import Store

ATTEMPTS = 3
_COLUMNS = ("id", "source", "url", "title", "kind", "fingerprint", "ingested_at")


@dataclass(frozen=True, slots=True)
class Document:
    """A document to keep. Each of `passages` is (heading, anchor, text), in order."""

    id: str
    source: str
    url: str
    title: str
    kind: str
    fingerprint: str
    ingested_at: str
    passages: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Known:
    """What an ingest has to know of a document that is there."""

    id: str
    source: str
    url: str
    fingerprint: str


async def count(store: Store) -> int:
    """How many documents there are."""
    from sqlalchemy import func, select

    from .tables import documents

    async with store.reading("count_documents") as connection:
        return int((await connection.execute(select(func.count()).select_from(documents))).scalar_one())


async def known(store: Store) -> list[Known]:
    """Every document that is there."""
    from sqlalchemy import select

    from .tables import documents as table

    columns = (table.c.id, table.c.source, table.c.url, table.c.fingerprint)
    async with store.reading("known_documents") as connection:
        rows = await connection.execute(select(*columns).order_by(table.c.source))
        return [Known(*row) for row in rows]


async def replace(store: Store, document: Document) -> None:
    """Keep `document` instead of the version that is there, if any; one transaction."""
    from sqlalchemy.exc import IntegrityError

    from .tables import documents, passages

    row = {name: getattr(document, name) for name in _COLUMNS}
    parts = [
        {"document_id": document.id, "position": position, "heading": heading, "anchor": anchor, "text": text}
        for position, (heading, anchor, text) in enumerate(document.passages)
    ]
    for attempt in range(ATTEMPTS):
        try:
            async with store.writing("replace_document") as connection:
                # The document first: who replaces or removes the same one then waits here, before either has touched its passages.
                await connection.execute(store.dialect.upsert(documents, {**row, "passages": len(parts)}))
                await connection.execute(passages.delete().where(passages.c.document_id == document.id))
                if parts:
                    await connection.execute(passages.insert(), parts)
                    await fulltext.of(store).index(connection, document.id, document.passages)
            return
        except IntegrityError:
            # Two that are new at the same moment may meet at the source, which an upsert by ID does not look at; the other is there now.
            if attempt == ATTEMPTS - 1:
                raise


async def remove(store: Store, document_id: str) -> None:
    """Forget the document; one transaction."""
    from sqlalchemy import select

    from .tables import documents, passages

    async with store.writing("remove_document") as connection:
        await connection.execute(
            select(documents.c.id).where(documents.c.id == document_id).with_for_update()
        )
        await connection.execute(passages.delete().where(passages.c.document_id == document_id))
        await connection.execute(documents.delete().where(documents.c.id == document_id))
