"""Answers in the making, each in a task of its own, and what is kept of them meanwhile.

What is known of a running answer is written to the store a few times a second, with a time until which its maker is to be believed alive.
An answer that nobody follows ends after a while; one that breaks off keeps what there was of it, and one of which nothing was known yet is
as if it had never been asked for.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, Literal

import orjson

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.clock import SECOND, Clock
from server.errors import ChatKitError, InternalError, ServiceUnavailable
from server.store import conversations, turns
from server.store.engine import Store, StoreUnavailable
from server.store.turns import CUT_OFF, DONE, RUNNING, Turn

from .answer import Cited, Earlier, StandIn, Text
from .models import Metadata, Question
from .running import Running
from .service import Chat, Finished

WRITE_SECONDS = 0.25
"""How often what is known of running answers is written."""
ALIVE_MS = 5 * SECOND
"""How long after it last wrote an answer's maker is believed alive."""
ANSWER_LIMIT = 100_000
"""Characters; an answer that is longer has gone wrong."""
HISTORY = 6
"""How many earlier turns a language model is told of."""
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


class Making:
    """Makes answers. `report` is told of bugs; an answer that nobody follows is made on for `alone_seconds`."""

    def __init__(
        self,
        *,
        store: Store,
        chat: Chat,
        clock: Clock,
        report: Callable[[Exception], None],
        alone_seconds: float,
    ) -> None:
        self._store = store
        self._chat = chat
        self._clock = clock
        self._report = report
        self._alone_seconds = alone_seconds
        self._running: dict[str, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing: dict[str, asyncio.Task[None]] = {}
        """Those whose answer is being written, and may be cut off; what follows may not be."""
        self._stopping = False

    def running(self, turn_id: str) -> Running | None:
        """The answer of a turn that is made here, now."""
        return self._running.get(turn_id)

    def begin(self, turn: Turn, question: Question) -> Running:
        """Begin to make the answer of `turn`."""
        running = self._running[turn.id] = Running()
        task = self._writing[turn.id] = asyncio.create_task(
            self._made(turn, question, running), name="answer"
        )
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._let_go(turn, task))
        return running

    def _let_go(self, turn: Turn, task: asyncio.Task[None]) -> None:
        """Whatever happened, nobody waits for ever; not even when the task was cancelled before it began."""
        self._tasks.discard(task)
        self._writing.pop(turn.id, None)
        running = self._running.pop(turn.id)
        if not running.ended:
            running.end(error=InternalError())

    async def _made(self, turn: Turn, question: Question, running: Running) -> None:
        """Make the answer, and end it."""
        try:
            await self._made_or_broken_off(turn, question, running)
        except Exception as error:
            self._report(error)

    async def _made_or_broken_off(self, turn: Turn, question: Question, running: Running) -> None:
        try:
            try:
                metadata = await self._written(turn, question, running)
            finally:
                del self._writing[turn.id]
        except asyncio.CancelledError:
            reason: Reason = "stopped" if self._stopping else "alone"
            await self._broken_off(turn, running, reason, ServiceUnavailable(CUT_OFF_MESSAGE))
        except ChatKitError as error:
            await self._broken_off(turn, running, "failed", error)
        except Exception as error:
            self._report(error)
            await self._broken_off(turn, running, "failed", InternalError())
        else:
            await self._done(turn, running, metadata)

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
                task = self._writing.get(turn)
                if task is not None and not task.cancelling() and loop.time() - since > self._alone_seconds:
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
        for task in self._writing.values():
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _known(running: Running, state: str, metadata: Metadata | None) -> dict[str, Any]:
    """The columns for what is known of an answer."""
    sources = None if running.cited is None else [source.model_dump() for source in running.cited.sources]
    return {
        "state": state,
        "answer": running.text,
        "sources": None if sources is None else orjson.dumps(sources).decode(),
        "metadata": None if metadata is None else metadata.model_dump_json(),
    }
