"""A turn happens once, however often it is asked for.

The client's message ID is unique for its visitor. The first to come with it begins the turn, and a task of its own makes the answer; who
comes later (a reload, a second tab, a retry after a lost connection) follows the same answer, while it is made or when it has been, in this
process or another. So an answer is paid for once, and nobody's going away ends it for others.

    begun ──► running ──► done                 whole, and kept before anybody is told that it is (a power cut may take the last ones)
                 └──────► cut_off              something broke, the server stopped, or its process died: what was told is kept
                 └──────► (forgotten)          failed before a word of it was known: asked again, it is tried again

A running answer has a time until which its maker is to be believed alive (see `making`); whoever finds that time passed marks the turn cut
off.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import orjson

from pipeline.context import current, note
from pipeline.log import log
from server.accounts.sessions import Opened, Sessions
from server.accounts.tokens import Purpose, minted
from server.accounts.visitor import Visitor
from server.clock import Clock
from server.errors import Detail, InvalidRequest, NotFound, ServiceUnavailable
from server.store import conversations, turns
from server.store.engine import Store
from server.store.turns import RUNNING, Turn

from . import making
from .answer import Cited, Text
from .making import Making
from .models import Metadata, Question, Source
from .passages import excerpt
from .running import Running
from .service import Finished, Piece

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

LOOK_SECONDS = 0.2
"""How often who follows an answer that another process makes looks for more."""
TITLE_LIMIT = 80


class Whole(NamedTuple):
    """An answer of which there is no more; `metadata` say whether that is all."""

    sources: tuple[Source, ...]
    text: str
    metadata: Metadata


class _Raced(Exception):
    """Another began the same turn at the same moment: what was done here is undone, and that one is found."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A turn that was begun or found. `newcomer` is who asked, when that was somebody whom nobody knew."""

    turn: Turn
    visitor: Visitor
    newcomer: Opened | None
    running: Running | None


class Turns:
    """Begins turns, and lets any number follow their answers, which are made by `makes`, and written by `model`."""

    def __init__(self, *, store: Store, makes: Making, sessions: Sessions, clock: Clock, model: str) -> None:
        self._store = store
        self._making = makes
        self._sessions = sessions
        self._clock = clock
        self._model = model

    async def take(self, question: Question, visitor: Visitor | None, token: str | None) -> Taken:
        """The turn of `question`: begun now, or found when it was before.

        `token` is what an anonymous visitor is known by, if it shows something. Raises ``InvalidRequest`` for a message ID that was another
        question's, ``NotFound`` for a conversation that is not the visitor's, ``SessionExpired`` and ``StoreUnavailable``.
        """
        asked = _fingerprint(question)
        newcomer = None
        if visitor is None and token is None:
            newcomer = token = minted(Purpose.ANONYMOUS)
        try:
            turn, who, begun = await self._taken(question, asked, visitor, token)
        except _Raced:
            turn, who, begun = await self._taken(question, asked, visitor, token)
        note(turn=turn.id, attached=not begun)
        running = self._making.begin(turn, question) if begun else self._making.running(turn.id)
        return Taken(turn, who, Opened(who, newcomer) if newcomer is not None else None, running)

    async def _taken(
        self, question: Question, asked: str, visitor: Visitor | None, token: str | None
    ) -> tuple[Turn, Visitor, bool]:
        """The turn, whose it is, and whether it begins now."""
        async with self._store.writing("begin_turn") as connection:
            if visitor is None or visitor.anonymous:
                assert token is not None, "an anonymous visitor is known by its token"
                visitor = await self._sessions.meet(connection, token)
            if question.message_id is not None:
                found = await turns.find(connection, visitor.id, question.message_id)
                if found is not None:
                    return _same(found, asked), visitor, False
            turn = await self._begun(connection, question, visitor, asked)
            return turn, visitor, True

    async def _begun(
        self, connection: "AsyncConnection", question: Question, visitor: Visitor, asked: str
    ) -> Turn:
        """A new turn, kept in its conversation."""
        now, request = self._clock(), current()
        conversation = question.conversation_id
        if conversation is None:
            conversation = secrets.token_hex(16)
            row = {
                "id": conversation,
                "visitor": visitor.id,
                "title": excerpt(question.text, TITLE_LIMIT),
                "created_at": now,
                "updated_at": now,
            }
            await conversations.begin(connection, row)
        elif not await conversations.touch(connection, visitor.id, conversation, now):
            raise NotFound("There is no such conversation.")
        turn = Turn(
            id=secrets.token_hex(16),
            conversation=conversation,
            message_id=question.message_id or secrets.token_hex(16),
            request_id=None if request is None else request.request_id,
            asked=asked,
            question=question.text,
            state=RUNNING,
            answer="",
            sources=None,
            metadata=None,
            created_at=now,
            alive_until=now + making.ALIVE_MS,
        )
        if not await turns.begin(connection, turn, visitor.id):
            raise _Raced
        return turn

    async def find(self, visitor: Visitor, message_id: str) -> Taken:
        """The visitor's turn of that message ID. Raises ``NotFound`` and ``StoreUnavailable``."""
        async with self._store.reading("find_turn") as connection:
            turn = await turns.find(connection, visitor.id, message_id)
        if turn is None:
            raise NotFound("There is no such message.")
        note(turn=turn.id, attached=True)
        return Taken(turn, visitor, None, self._making.running(turn.id))

    async def follow(self, taken: Taken, after: int | None = None) -> AsyncGenerator[Piece]:
        """The answer from its character `after` on, as it comes; with its sources for None, which is from the beginning.

        Ends with `Finished`, whose metadata say whether it is whole. Raises what made a turn fail of which nothing was known.
        """
        pieces = (
            taken.running.follow(after)
            if taken.running is not None
            else self._from_store(taken.turn, taken.visitor, after)
        )
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def whole(self, taken: Taken) -> Whole:
        """All of the answer, once there is no more of it. Raises what made a turn fail of which nothing was known."""
        running, turn = taken.running, taken.turn
        if running is not None:
            await running.wait()
            assert running.metadata is not None, "it ended without an error"
            return Whole(running.cited.sources if running.cited else (), running.text, running.metadata)
        while turn.state == RUNNING:
            turn = await self._looked_at(turn, taken.visitor)
        return Whole(_sources(turn), turn.answer, self._metadata(turn))

    def _metadata(self, turn: Turn) -> Metadata:
        """What is known of how an answer was made that has ended."""
        if turn.metadata is None:
            return _cut_off(self._model)
        return Metadata.model_validate_json(turn.metadata)

    async def _from_store(self, turn: Turn, visitor: Visitor, after: int | None) -> AsyncGenerator[Piece]:
        """The same for an answer that another process makes, or that has been made."""
        told, at = after is not None, after or 0
        while True:
            if turn.sources is not None and not told:
                told = True
                yield Cited(_sources(turn))
            if len(turn.answer) > at:
                text, at = turn.answer[at:], len(turn.answer)
                yield Text(text)
            if turn.state != RUNNING:
                yield Finished(self._metadata(turn))
                return
            turn = await self._looked_at(turn, visitor)

    async def _looked_at(self, turn: Turn, visitor: Visitor) -> Turn:
        if turn.alive_until < self._clock():
            async with self._store.writing("give_up_turn") as connection:
                if await turns.give_up(connection, turn.id, self._clock()):
                    log.warning("turn_cut_off", turn=turn.id, reason="died", characters=len(turn.answer))
        else:
            await asyncio.sleep(LOOK_SECONDS)
        async with self._store.reading("follow_turn") as connection:
            found = await turns.find(connection, visitor.id, turn.message_id)
        if found is None or found.id != turn.id:
            raise ServiceUnavailable("The question could not be answered. Please ask again.", retry_after=1)
        return found


def _sources(turn: Turn) -> tuple[Source, ...]:
    """What an answer rests on, as far as is known."""
    return tuple(Source.model_validate(source) for source in orjson.loads(turn.sources or "[]"))


def _cut_off(model: str) -> Metadata:
    """What is known of how an answer was made that was cut off."""
    return Metadata(
        model=model,
        tokens_used=0,
        retrieval_time_ms=0,
        generation_time_ms=0,
        total_time_ms=0,
        cut_off=True,
    )


def _same(turn: Turn, asked: str) -> Turn:
    """`turn`, if the same question was asked."""
    if turn.asked == asked:
        return turn
    problem = "Was used for another question. Use a new one for each."
    raise InvalidRequest(
        "The request is not valid: see message_id.", details=[Detail(field="message_id", problem=problem)]
    )


def _fingerprint(question: Question) -> str:
    """The same for the same question: all of it but who asks."""
    told = question.model_dump_json(exclude={"message_id": True, "context": {"session_id"}})
    return hashlib.sha256(told.encode()).hexdigest()
