"""Full text: how often words occur, and the passages that hold them. Each kind of database has its own way to it.

Words arrive folded, as letters and digits only (`server.chat.words.terms`); each side reduces them to the stems that its index holds,
and both indexes hold the same stems. What a passage is worth is not decided here but in `server.chat.ranking`, for both alike.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from server.store.dialects import Fetch, Row
from server.store.engine import Store

from . import postgres, sqlite

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class FullText(Protocol):
    """Full text on one kind of database.

    Both pass `tests/contract/test_retriever.py`.
    """

    async def frequencies(self, fetch: Fetch, words: Sequence[str]) -> tuple[int, Sequence[int]]:
        """How many passages there are, and how many of them hold each of `words`; one statement."""

    async def candidates(self, fetch: Fetch, words: Mapping[str, float], limit: int) -> Sequence[Row]:
        """The `limit` passages that hold most of `words`, as (document, position, url, anchor, heading, text).

        `words` has what each word weighs, if the database does not know that itself.
        """

    async def index(
        self, connection: "AsyncConnection", document_id: str, passages: Sequence[tuple[str, str, str]]
    ) -> None:
        """Make the stored passages of a document, each (heading, anchor, text), to be found; within their transaction."""

    async def tidy(self, store: Store) -> None:
        """Put in order what many small writes left of the index, so that a search reads few places."""


def of(store: Store) -> FullText:
    """The full text of the database behind `store`."""
    return postgres if store.dialect.KIND == "postgresql" else sqlite
