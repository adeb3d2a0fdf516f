"""A visitor's conversations: listed, read, renamed, saved, deleted and taken along. What is another's is as good as not there."""

from dataclasses import dataclass

import orjson

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.accounts.visitor import Visitor
from server.chat.retrieval import Retriever
from server.clock import Clock
from server.errors import NotFound
from server.store import conversations, forgetting
from server.store.conversations import Conversation
from server.store.engine import Store
from server.store.turns import Turn

from .models import Recommendation
from .recommend import QUESTIONS, recommended

TURNS_READ = 1_000
"""How many turns of one conversation are read; the last ones."""

declare(
    [
        Event(
            "chat_saved",
            "INFO",
            "A conversation is kept for good.",
            {
                "conversation": Field("the conversation"),
                "turns": Field("how many questions and answers it has"),
            },
        ),
        Event(
            "chat_deleted",
            "INFO",
            "A visitor deleted a conversation, with all its questions and answers.",
            {"conversation": Field("the conversation")},
        ),
        Event(
            "chat_exported",
            "INFO",
            "A visitor took a conversation along.",
            {"conversation": Field("the conversation"), "form": Field("`json` or `markdown`")},
        ),
        Event(
            "chats_forgotten",
            "INFO",
            "Conversations that nobody saved were deleted, some time after they last went on.",
            {"count": Field("how many")},
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a visitor's conversations, the one that went on last first; `more` when there are others behind them."""

    conversations: list[Conversation]
    more: bool


class Conversations:
    """What a visitor can do with conversations; every method raises ``StoreUnavailable``, and ``NotFound`` for what is not the visitor's."""

    def __init__(self, store: Store, retriever: Retriever, clock: Clock) -> None:
        self._store = store
        self._retriever = retriever
        self._clock = clock

    async def page(self, visitor: Visitor, limit: int, behind: str | None) -> Page:
        """At most `limit`, those behind the conversation `behind` if one is given."""
        async with self._store.reading("list_conversations") as connection:
            before = None
            if behind is not None:
                last = await conversations.find(connection, visitor.id, behind)
                if last is None:
                    raise _unknown()
                before = last.updated_at, last.id
            found = await conversations.newest(connection, visitor.id, limit + 1, before)
        return Page(found[:limit], len(found) > limit)

    async def read(self, visitor: Visitor, conversation_id: str) -> tuple[Conversation, list[Turn]]:
        """The conversation with its turns, in the order asked."""
        async with self._store.reading("read_conversation") as connection:
            found = await conversations.find(connection, visitor.id, conversation_id)
            if found is None:
                raise _unknown()
            return found, await conversations.turns_of(connection, conversation_id, TURNS_READ)

    async def take_along(
        self, visitor: Visitor, conversation_id: str, form: str
    ) -> tuple[Conversation, list[Turn]]:
        """The same, to be exported as `form`."""
        found = await self.read(visitor, conversation_id)
        log.info("chat_exported", conversation=conversation_id, form=form)
        return found

    async def rename(self, visitor: Visitor, conversation_id: str, title: str) -> Conversation:
        """Give it another title."""
        async with self._store.writing("rename_conversation") as connection:
            await conversations.rename(connection, visitor.id, conversation_id, title)
            found = await conversations.find(connection, visitor.id, conversation_id)
        if found is None:
            raise _unknown()
        return found

    async def save(
        self, visitor: Visitor, conversation_id: str, title: str | None
    ) -> tuple[Conversation, list[Turn]]:
        """Keep it for good, under another title if one is given."""
        async with self._store.writing("save_conversation", durable=True) as connection:
            await conversations.save(connection, visitor.id, conversation_id, self._clock())
            if title is not None:
                await conversations.rename(connection, visitor.id, conversation_id, title)
            found = await conversations.find(connection, visitor.id, conversation_id)
            if found is None:
                raise _unknown()
            turns = await conversations.turns_of(connection, conversation_id, TURNS_READ)
        log.info("chat_saved", conversation=conversation_id, turns=len(turns))
        return found, turns

    async def delete(self, visitor: Visitor, conversation_id: str) -> None:
        """Delete it, with all its turns. Raises ``NotDurable`` too: then it is still there."""
        async with self._store.writing("delete_conversation", durable=True) as connection:
            if not await conversations.delete(connection, visitor.id, conversation_id):
                raise _unknown()
            await log.durable("chat_deleted", conversation=conversation_id)

    async def recommend(self, visitor: Visitor, limit: int) -> list[Recommendation]:
        """At most `limit` pages that bear on what the visitor asked, and that no answer has shown."""
        async with self._store.reading("asked_before") as connection:
            asked = await conversations.asked(connection, visitor.id, QUESTIONS)
        sources = [source for _, found in asked if found is not None for source in orjson.loads(found)]
        shown = {source[name] for source in sources for name in ("id", "url")}
        questions = [question for question, _ in asked]
        return await recommended(self._retriever, questions, frozenset(shown), limit)

    async def forget(self, older_than: int) -> None:
        """Delete what nobody saved and last went on more than `older_than` milliseconds ago."""
        count = await forgetting.conversations(self._store, self._clock() - older_than)
        if count:
            log.info("chats_forgotten", count=count)


def _unknown() -> NotFound:
    return NotFound("There is no such conversation.")
