"""A turn happens once, on either database: however often it is asked for, from however many places, and whatever dies in between."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest

from server.accounts.sessions import Sessions
from server.accounts.tokens import Digester, Purpose, minted
from server.accounts.visitor import Visitor
from server.chat import making
from server.chat.answer import BrokeOff, Cited, Earlier, StandIn, Text
from server.chat.making import Making
from server.chat.models import Metadata, Question, Source
from server.chat.passages import Passage
from server.chat.service import Chat, Finished, Piece
from server.chat.turns import Taken, Turns
from server.clock import wall_clock
from server.errors import InternalError, InvalidRequest, NotFound, ServiceUnavailable, SessionExpired
from server.store import turns as stored
from server.store.engine import Store
from server.store.turns import CUT_OFF

TEXTS = [f"word{number} " for number in range(40)]
WHOLE = "".join(TEXTS)
SOURCE = Source(id="d-1", title="A document", url="docs/a.md", excerpt="Words.", score=0.5)


class Nothing:
    """Finds nothing: these answers are made up."""

    async def search(self, _question: str, _limit: int) -> Sequence[Passage]:
        return []


class Model:
    """Says the same words to everybody, and counts how often it was asked."""

    model = "counted"

    def __init__(self, pause: float = 0.0, failure: Exception | None = None, after: int = len(TEXTS)) -> None:
        self.pause, self.failure, self.after = pause, failure, after
        self.calls = 0
        self.history: Sequence[Earlier] = ()
        self.stopped = 0

    async def answer(self, *told: Any) -> AsyncGenerator[Cited | Text]:
        self.calls += 1
        self.history = told[2]
        try:
            yield Cited((SOURCE,))
            for number, text in enumerate(TEXTS):
                await asyncio.sleep(self.pause)
                if self.failure is not None and number == self.after:
                    raise self.failure
                yield Text(text)
        finally:
            self.stopped += 1


Process = Callable[..., Turns]


@pytest.fixture
async def process(database: Store) -> AsyncIterator[Process]:
    """Makes what each process has of its own, on one database."""
    made: list[tuple[Making, asyncio.Task[None]]] = []
    reported: list[Exception] = []

    def start(model: Model, alone_seconds: float = 30.0) -> Turns:
        makes = Making(
            store=database,
            chat=Chat(Nothing(), model),
            clock=wall_clock,
            report=reported.append,
            alone_seconds=alone_seconds,
        )
        made.append((makes, asyncio.create_task(makes.run())))
        return Turns(
            store=database,
            makes=makes,
            sessions=Sessions(database, Digester([b"k" * 32]), wall_clock),
            clock=wall_clock,
            model=model.model,
        )

    yield start
    for makes, task in made:
        await makes.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _question(message_id: str | None = "m1", text: str = "What words are there?", **more: str) -> Question:
    return Question.model_validate({"message": text, "message_id": message_id, **more})


@pytest.fixture
def token() -> str:
    return minted(Purpose.ANONYMOUS)


async def _all(turns: Turns, taken: Taken, after: int | None = None) -> list[Piece]:
    async with aclosing(turns.follow(taken, after)) as pieces:
        return [piece async for piece in pieces]


def _text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Text))


def _end(pieces: Sequence[Piece]) -> Metadata:
    assert isinstance(pieces[-1], Finished)
    return pieces[-1].metadata


async def test_the_same_question_asked_at_the_same_moment_is_answered_once(
    process: Process, token: str
) -> None:
    model = Model(pause=0.001)
    turns = process(model)
    taken = await asyncio.gather(*(turns.take(_question(), None, token) for _ in range(20)))
    answers = await asyncio.gather(*(_all(turns, one) for one in taken))
    assert model.calls == 1
    assert {_text(pieces) for pieces in answers} == {WHOLE}
    assert len({one.turn.id for one in taken}) == 1


async def test_two_processes_that_are_asked_at_the_same_moment_answer_once(
    process: Process, token: str
) -> None:
    model = Model(pause=0.005)
    one, other = process(model), process(model)
    taken = await asyncio.gather(
        *((one, other)[number % 2].take(_question(), None, token) for number in range(10))
    )
    answers = await asyncio.gather(
        *(_all((one, other)[number % 2], turn) for number, turn in enumerate(taken))
    )
    assert model.calls == 1
    assert {_text(pieces) for pieces in answers} == {WHOLE}
    assert all(not _end(pieces).cut_off for pieces in answers)


async def test_it_is_there_later_in_another_process_and_costs_nothing(process: Process, token: str) -> None:
    model = Model()
    first = process(model)
    told = await _all(first, await first.take(_question(), None, token))
    later = process(model)
    again = await _all(later, await later.take(_question(), None, token))
    assert model.calls == 1
    assert (again[0], _text(again), _end(again)) == (told[0], WHOLE, _end(told))


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_who_comes_back_gets_what_follows_and_nothing_twice(
    process: Process, token: str, where: str
) -> None:
    model = Model(pause=0.01)
    turns, other = process(model), process(model)
    taken = await turns.take(_question(), None, token)
    reader = turns if where == "here" else other
    got = ""
    while True:
        seen = await reader.take(_question(), None, token)
        async with aclosing(reader.follow(seen, len(got) if got else None)) as pieces:
            ended = False
            async for piece in pieces:
                if isinstance(piece, Text):
                    got += piece.text
                    break  # The connection is lost.
                ended = isinstance(piece, Finished)
            if ended:
                break
    assert got == WHOLE
    assert model.calls == 1
    assert taken.turn.id == seen.turn.id


async def test_a_finished_answer_can_be_had_from_any_place_on(process: Process, token: str) -> None:
    turns = process(Model())
    taken = await turns.take(_question(), None, token)
    await _all(turns, taken)
    for place in (0, 1, 7, len(WHOLE) - 1, len(WHOLE), len(WHOLE) + 5):
        seen = await turns.take(_question(), None, token)
        pieces = await _all(turns, seen, place)
        assert _text(pieces) == WHOLE[place:]
        assert not [piece for piece in pieces if isinstance(piece, Cited)]


async def test_the_same_message_id_of_two_visitors_is_two_turns(process: Process) -> None:
    model = Model()
    turns = process(model)
    ones = await turns.take(_question(), None, minted(Purpose.ANONYMOUS))
    others = await turns.take(_question(), None, minted(Purpose.ANONYMOUS))
    await asyncio.gather(_all(turns, ones), _all(turns, others))
    assert (model.calls, ones.turn.id != others.turn.id) == (2, True)
    with pytest.raises(NotFound):
        await turns.find(others.visitor, "another")


async def test_one_message_id_is_for_one_question(process: Process, token: str) -> None:
    turns = process(Model())
    await _all(turns, await turns.take(_question(), None, token))
    with pytest.raises(InvalidRequest, match="message_id"):
        await turns.take(_question(text="What else?"), None, token)


async def test_without_a_message_id_each_question_is_a_turn(process: Process, token: str) -> None:
    model = Model()
    turns = process(model)
    for _ in range(2):
        await _all(turns, await turns.take(_question(None), None, token))
    assert model.calls == 2


async def test_somebody_new_is_told_a_token_by_which_they_are_known_again(process: Process) -> None:
    turns = process(Model())
    first = await turns.take(_question(), None, None)
    await _all(turns, first)
    assert first.newcomer is not None
    again = await turns.take(_question(), None, first.newcomer.token)
    assert (again.visitor.id, again.newcomer, again.turn.id) == (first.visitor.id, None, first.turn.id)


async def test_what_fails_before_a_word_is_known_can_be_asked_again(process: Process, token: str) -> None:
    turns = process(Model(failure=ServiceUnavailable("Not now.", retry_after=3), after=0))
    taken = await turns.take(_question(), None, token)
    with pytest.raises(ServiceUnavailable, match="Not now"):
        await _all(turns, taken)
    well = process(Model())
    assert _text(await _all(well, await well.take(_question(), None, token))) == WHOLE


async def test_nobody_waits_for_ever_when_an_answer_cannot_be_kept_because_of_a_bug(
    process: Process, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def buggy(*_: Any, **__: Any) -> bool:
        raise RuntimeError("a bug")

    turns = process(Model(pause=0.01))
    taken = await turns.take(_question(), None, token)
    monkeypatch.setattr(stored, "write", buggy)
    with pytest.raises(InternalError):
        await asyncio.wait_for(_all(turns, taken), 20)
    with pytest.raises(InternalError):
        await asyncio.wait_for(turns.whole(taken), 20)


async def test_what_breaks_midway_tells_who_is_there_why_and_keeps_what_there_was(
    process: Process, token: str
) -> None:
    model = Model(failure=RuntimeError("a bug"), after=3)
    turns = process(model)
    taken = await turns.take(_question(), None, token)
    with pytest.raises(InternalError):
        await _all(turns, taken)
    later = process(model)
    pieces = await _all(later, await later.take(_question(), None, token))
    assert _text(pieces) == "".join(TEXTS[:3])
    assert _end(pieces).cut_off
    assert model.calls == 1


async def test_who_waits_for_the_whole_gets_it_once_it_is_there(process: Process, token: str) -> None:
    model = Model(pause=0.005)
    turns, other = process(model), process(model)
    taken = await turns.take(_question(), None, token)
    seen = await other.take(_question(), None, token)
    whole, elsewhere = await asyncio.gather(turns.whole(taken), other.whole(seen))
    assert (whole.text, whole.sources, whole.metadata.cut_off) == (WHOLE, (SOURCE,), False)
    assert (elsewhere, model.calls) == (whole, 1)


class Breaks(Model):
    """Breaks off after some words, and has something to be told instead."""

    async def answer(self, *_: Any) -> AsyncGenerator[Cited | Text]:
        self.calls += 1
        yield Cited((SOURCE,))
        for text in TEXTS[:3]:
            await asyncio.sleep(0.02)
            yield Text(text)
        raise BrokeOff([StandIn("extractive", "llm_cut_off"), Text("The documents say so.")])


async def test_a_model_that_breaks_off_unseen_costs_only_its_words(process: Process, token: str) -> None:
    turns = process(Breaks())
    whole = await turns.whole(await turns.take(_question(), None, token))
    assert (whole.text, whole.metadata.model, whole.metadata.degraded) == (
        "The documents say so.",
        "extractive",
        True,
    )
    later = process(Model())
    assert (await later.whole(await later.take(_question(), None, token))).text == whole.text


async def test_a_model_that_breaks_off_before_somebodys_eyes_is_cut_off(process: Process, token: str) -> None:
    turns = process(Breaks())
    taken = await turns.take(_question(), None, token)
    with pytest.raises(BrokeOff):
        await _all(turns, taken)
    later = process(Model())
    pieces = await _all(later, await later.take(_question(), None, token))
    assert (_text(pieces), _end(pieces).cut_off) == ("".join(TEXTS[:3]), True)


async def test_a_stop_keeps_what_there_was_and_says_so(process: Process, token: str) -> None:
    turns = process(Model(pause=0.02))
    taken = await turns.take(_question(), None, token)
    following = asyncio.create_task(_all(turns, taken))
    assert taken.running is not None
    while not taken.running.shown:
        await asyncio.sleep(0.02)
    await turns._making.close()
    with pytest.raises(ServiceUnavailable, match="cut off"):
        await following
    later = process(Model())
    pieces = await _all(later, await later.take(_question(), None, token))
    assert _end(pieces).cut_off
    assert WHOLE.startswith(_text(pieces))
    assert _text(pieces)


async def test_what_there_was_is_kept_by_the_time_a_stop_ends_however_often_it_was_asked_for(
    process: Process, token: str, database: Store
) -> None:
    turns = process(Model(pause=0.02))
    taken = await turns.take(_question(), None, token)
    async with aclosing(turns.follow(taken)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Text):
                break
    stops = [asyncio.create_task(turns._making.close())]
    for _ in range(5):
        await asyncio.sleep(0)
        stops.append(asyncio.create_task(turns._making.close()))
    await asyncio.gather(*stops)
    async with database.reading("test") as connection:
        found = await stored.find(connection, taken.visitor.id, "m1")
    assert found is not None
    assert (found.state, found.answer) == (CUT_OFF, taken.running.text if taken.running else "")


async def test_who_waits_for_an_answer_that_was_ended_before_it_began_is_told(
    process: Process, token: str
) -> None:
    turns = process(Model())
    taken = await turns.take(_question(), None, token)
    for task in turns._making._tasks:  # before it has had a moment to run
        task.cancel()
    with pytest.raises(InternalError):
        await _all(turns, taken)


async def test_an_answer_whose_maker_died_is_cut_off_where_it_was_last_kept(
    process: Process, token: str, database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "ALIVE_MS", 1_000)
    model = Model(pause=0.3)
    turns = process(model)
    taken = await turns.take(_question(), None, token)
    watching = asyncio.create_task(_all(turns, taken))
    while not await _kept(database, taken):
        await asyncio.sleep(0.05)
    # As a `kill -9` leaves it: nobody writes any more, and nobody says that it is over.
    turns._making._write_running = _never  # type: ignore[method-assign]
    later = process(model)
    pieces = await _all(later, await later.take(_question(), None, token))
    assert _end(pieces).cut_off
    assert WHOLE.startswith(_text(pieces))
    assert _text(pieces)
    assert model.calls == 1
    watching.cancel()


async def _kept(store: Store, taken: Taken) -> str:
    """What there is of the answer in the store."""
    async with store.reading("test") as connection:
        found = await stored.find(connection, taken.visitor.id, taken.turn.message_id)
    assert found is not None
    return found.answer


async def _never() -> None:
    return None


async def test_an_answer_that_nobody_waits_for_is_not_made_for_ever(process: Process, token: str) -> None:
    model = Model(pause=0.2)
    turns = process(model, alone_seconds=0.1)
    taken = await turns.take(_question(), None, token)
    async with aclosing(turns.follow(taken)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Text):
                break
    for _ in range(500):
        if not turns._making._running:
            break
        await asyncio.sleep(0.02)
    assert (model.stopped, turns._making._running) == (1, {})
    pieces_again = await _all(turns, await turns.take(_question(), None, token))
    assert _end(pieces_again).cut_off


async def test_questions_of_one_conversation_stand_in_the_order_asked(
    process: Process, token: str, database: Store
) -> None:
    from server.store import conversations

    model = Model()
    turns = process(model)
    first = await turns.take(_question("m1", "The first?"), None, token)
    await _all(turns, first)
    second = await turns.take(
        _question("m2", "The second?", conversation_id=first.turn.conversation), first.visitor, token
    )
    await _all(turns, second)
    assert model.history == [Earlier("The first?", WHOLE)]
    async with database.reading("test") as connection:
        found = await conversations.turns_of(connection, first.turn.conversation, 10)
    assert [(turn.question, turn.answer, turn.state) for turn in found] == [
        ("The first?", WHOLE, "done"),
        ("The second?", WHOLE, "done"),
    ]
    assert all(one.created_at <= other.created_at for one, other in pairwise(found))


async def test_a_conversation_of_another_is_not_there(process: Process) -> None:
    turns = process(Model())
    mine = await turns.take(_question(), None, minted(Purpose.ANONYMOUS))
    await _all(turns, mine)
    with pytest.raises(NotFound):
        await turns.take(
            _question("m2", conversation_id=mine.turn.conversation), None, minted(Purpose.ANONYMOUS)
        )


async def test_a_visitor_whose_session_has_ended_begins_nothing(
    process: Process, token: str, database: Store
) -> None:
    turns = process(Model())
    taken = await turns.take(_question(), None, token)
    await _all(turns, taken)
    await _ended(database, taken.visitor)
    with pytest.raises(SessionExpired):
        await turns.take(_question("m2"), None, token)


async def _ended(store: Store, visitor: Visitor) -> None:
    from server.store import accounts

    async with store.writing("test") as connection:
        assert await accounts.end(connection, visitor.session, "logged_out", wall_clock())
