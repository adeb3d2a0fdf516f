"""A turn happens once, however often it is asked for.

The client's message ID is unique for its visitor. The first to come with it begins the turn, and a task of its own makes the answer; who
comes later (a reload, a second tab, a retry after a lost connection) follows the same answer, while it is made or when it has been, in this
process or another. So an answer is paid for once, and nobody's going away ends it for others.

    begun ──► running ──► done                 whole, and kept before anybody is told that it is
                 └──────► cut_off              something broke, the server stopped, or its process died: what was told is kept
                 └──────► (forgotten)          failed before a word of it was known: asked again, it is tried again

What is known of a running answer is written to the store a few times a second with a time until which its maker is to be believed alive;
whoever finds that time passed marks the turn cut off.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from pipeline.catalogue import Event, Field, declare
from pipeline.context import note
from pipeline.log import log
from server.accounts.sessions import Opened, Sessions
from server.accounts.tokens import Purpose, minted
from server.accounts.visitor import Visitor
from server.clock import SECOND, Clock
from server.errors import ChatKitError, Detail, InternalError, InvalidRequest, NotFound, ServiceUnavailable
from server.store import conversations, turns
from server.store.engine import Store, StoreUnavailable
from server.store.turns import CUT_OFF, DONE, RUNNING, Turn

from .answer import Cited, Earlier, StandIn, Text
from .models import Metadata, Question, Source
from .passages import excerpt
from .running import Running
from .service import Chat, Finished, Piece

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

WRITE_SECONDS = 0.25
"""How often what is known of running answers is written."""
ALIVE_MS = 5 * SECOND
"""How long after it last wrote an answer's maker is believed alive."""
LOOK_SECONDS = 0.2
"""How often who follows an answer that another process makes looks for more."""
ALONE_SECONDS = 30.0
"""How long an answer is made on with nobody following it: a reload takes less, and whoever is gone for good costs no more than this."""
ANSWER_LIMIT = 100_000
"""Characters; an answer that is longer has gone wrong."""
HISTORY = 6
"""How many earlier turns a language model is told of."""
TITLE_LIMIT = 80
CUT_OFF_MESSAGE = "The answer was cut off. Ask again to get all of it."

Reason = Literal["failed", "alone", "stopped", "died"]

declare(
    [
        Event(
            "turn_cut_off",
            "WARNING",
            "An answer ended before it was whole; what there was of it is kept.",
            {
                "turn": Field("the turn"),
                "reason": Field(
                    "`failed` (an error says why), `alone` (nobody waited for it any more), `stopped` (the server did), or `died` (its process)"
                ),
                "characters": Field("how much of the answer there was"),
            },
        )
    ]
)


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
    """Begins turns, and lets any number follow their answers. `report` is told of bugs while one is made."""

    def __init__(
        self,
        *,
        store: Store,
        chat: Chat,
        sessions: Sessions,
        clock: Clock,
        report: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._chat = chat
        self._sessions = sessions
        self._clock = clock
        self._report = report
        self._running: dict[str, Running] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

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
        running = self._make(turn, question) if begun else self._running.get(turn.id)
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
        now = self._clock()
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
            asked=asked,
            question=question.text,
            state=RUNNING,
            answer="",
            sources=None,
            metadata=None,
            created_at=now,
            alive_until=now + ALIVE_MS,
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
        return Taken(turn, visitor, None, self._running.get(turn.id))

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
            return _cut_off(self._chat.model)
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

    def _make(self, turn: Turn, question: Question) -> Running:
        """Begin to make the answer."""
        running = self._running[turn.id] = Running()
        task = asyncio.create_task(self._made(turn, question, running), name="answer")
        self._tasks[turn.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(turn.id, None))
        return running

    async def _made(self, turn: Turn, question: Question, running: Running) -> None:
        try:
            metadata = await self._written(turn, question, running)
        except asyncio.CancelledError:
            reason: Reason = "stopped" if self._stopping else "alone"
            await asyncio.shield(self._broken_off(turn, running, reason, ServiceUnavailable(CUT_OFF_MESSAGE)))
        except ChatKitError as error:
            await self._broken_off(turn, running, "failed", error)
        except Exception as error:
            self._report(error)
            await self._broken_off(turn, running, "failed", InternalError())
        else:
            await self._done(turn, running, metadata)
        finally:
            del self._running[turn.id]

    async def _written(self, turn: Turn, question: Question, running: Running) -> Metadata:
        """Write the answer into `running`, and say what it took."""
        history = await self._history(turn) if question.conversation_id is not None else ()
        answer = self._chat.stream(question, history, turn.conversation, lambda: running.shown)
        async with aclosing(answer) as pieces:
            async for piece in pieces:
                match piece:
                    case StandIn():
                        running.begin_anew()
                    case Cited():
                        running.cite(piece)
                    case Text():
                        running.add(piece.text)
                        if len(running.text) > ANSWER_LIMIT:
                            raise ServiceUnavailable("The answer became too long.")
                        # Who follows is told of each piece as it comes, however quickly they do.
                        await asyncio.sleep(0)
                    case Finished():
                        return piece.metadata
        raise AssertionError("a turn ends with `Finished`")

    async def _history(self, turn: Turn) -> Sequence[Earlier]:
        """What was asked and answered before in the turn's conversation, the latest last."""
        async with self._store.reading("history") as connection:
            before = await conversations.turns_of(connection, turn.conversation, HISTORY + 1)
        return [
            Earlier(one.question, one.answer) for one in before if one.id != turn.id and one.state == DONE
        ]

    async def _done(self, turn: Turn, running: Running, metadata: Metadata) -> None:
        try:
            async with self._store.writing("finish_turn") as connection:
                await turns.write(connection, turn.id, **_known(running, DONE, metadata))
        except StoreUnavailable as error:
            # It cannot be kept: whoever is here has all of it, and is not told that it will be there later.
            running.end(error=error)
        else:
            running.end(metadata=metadata)

    async def _broken_off(self, turn: Turn, running: Running, reason: Reason, error: ChatKitError) -> None:
        """Who is here hears `error`; who comes later finds what there was, or may ask again if there was nothing."""
        with contextlib.suppress(StoreUnavailable):
            async with self._store.writing("break_off_turn") as connection:
                if running.text:
                    await turns.write(connection, turn.id, **_known(running, CUT_OFF, None))
                else:
                    await turns.undo(connection, turn.id)
        if running.text:
            log.warning("turn_cut_off", turn=turn.id, reason=reason, characters=len(running.text))
        running.end(error=error)

    async def run(self) -> None:
        """Write a few times a second what is known of running answers, and end those that nobody waits for; until cancelled."""
        alone: dict[str, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            alone = {
                turn: alone.get(turn, loop.time())
                for turn, running in self._running.items()
                if not running.followers
            }
            for turn, since in alone.items():
                task = self._tasks.get(turn)
                if task is not None and not task.cancelling() and loop.time() - since > ALONE_SECONDS:
                    task.cancel()
            with contextlib.suppress(StoreUnavailable):
                await self._write_running()

    async def _write_running(self) -> None:
        going_on = {turn: running for turn, running in self._running.items() if not running.ended}
        if not going_on:
            return
        async with self._store.writing("write_turns") as connection:
            until = self._clock() + ALIVE_MS
            for turn, running in going_on.items():
                # What nobody was shown may still be taken back, so nobody else is shown it either.
                known = _known(running, RUNNING, None) if running.shown else {}
                await turns.write(connection, turn, **known, alive_until=until)

    async def close(self) -> None:
        """End what is running, and keep what there is of it."""
        self._stopping = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


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


def _known(running: Running, state: str, metadata: Metadata | None) -> dict[str, Any]:
    """The columns for what is known of an answer."""
    sources = None if running.cited is None else [source.model_dump() for source in running.cited.sources]
    return {
        "state": state,
        "answer": running.text,
        "sources": None if sources is None else orjson.dumps(sources).decode(),
        "metadata": None if metadata is None else metadata.model_dump_json(),
    }


def _fingerprint(question: Question) -> str:
    """The same for the same question: all of it but who asks."""
    told = question.model_dump_json(exclude={"message_id": True, "context": {"session_id"}})
    return hashlib.sha256(told.encode()).hexdigest()
