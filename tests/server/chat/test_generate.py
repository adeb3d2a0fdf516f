"""An answer in a model's words, piece by piece: what the model is told, what is shown of what it says, and what it costs."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import pytest

from server.chat.answer import (
    BrokeOff,
    Cited,
    Earlier,
    NotHeld,
    Piece,
    Recalled,
    Sanitised,
    Spent,
    StandIn,
    Text,
)
from server.chat.budget import Bounds, Budget
from server.chat.extract import NO_ANSWER
from server.chat.generate import CUT, GenerativeAnswerer
from server.chat.models import Context, Mode, Question
from server.chat.passages import Passage
from server.store import usage
from server.store.engine import Store
from server.upstream.breaker import Tolerance
from server.upstream.endpoint import Model
from server.upstream.llm import LLM
from server.upstream.memory import Memory
from server.upstream.patience import Patience
from tests.model_endpoint import (
    END,
    Behaviour,
    ModelEndpoint,
    delta,
    finish,
    half_an_answer,
    refuses,
    says,
    sends,
    serving,
)
from tests.model_endpoint import (
    usage as counted,
)

QUESTION = Question(message="When do I ring the bell?")
PASSAGES = [
    Passage(
        "a-0",
        "The bell",
        "docs/bell.md",
        "Ring the bell before you overtake.",
        0.9,
        {"bell": 3.0, "ring": 2.0},
    )
]

Make = Callable[..., GenerativeAnswerer]


@pytest.fixture
def endpoint() -> Iterator[ModelEndpoint]:
    with serving() as one:
        yield one


@pytest.fixture
async def make(endpoint: ModelEndpoint, store: Store) -> AsyncIterator[Make]:
    models: list[LLM] = []
    budgets: list[Budget] = []

    def one(remembers: int = 0, **bounds: int) -> GenerativeAnswerer:
        patience = Patience(first_token=2, between_tokens=1)
        models.append(
            LLM(Model(endpoint.url, "m", "", 100), patience, Tolerance(failures=2), Memory(remembers, 60))
        )
        budgets.append(Budget(store, Bounds(**bounds)))
        return GenerativeAnswerer(models[-1], budgets[-1])

    yield one
    for budget in budgets:
        await budget.close()
    for model in models:
        await model.close()


async def made(
    answerer: GenerativeAnswerer,
    question: Question = QUESTION,
    passages: Sequence[Passage] = PASSAGES,
    history: Sequence[Earlier] = (),
    conversation: str | None = None,
) -> list[Piece]:
    async with aclosing(answerer.answer(question, passages, history, conversation)) as pieces:
        return [piece async for piece in pieces]


def text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Text))


async def test_first_the_sources_then_the_text_then_what_it_cost(make: Make, endpoint: ModelEndpoint) -> None:
    endpoint.usually = says("Before you overtake. [1]")
    pieces = await made(make())
    assert isinstance(pieces[0], Cited)
    assert [source.id for source in pieces[0].sources] == ["a-0"]
    assert text(pieces) == "Before you overtake. [1]"
    assert pieces[-2:] == [Sanitised(0), Spent(42)]


async def test_the_conversation_so_far_is_told(make: Make, endpoint: ModelEndpoint) -> None:
    await made(make(), history=[Earlier("What is a bell?", "It rings.")])
    assert [message["content"] for message in endpoint.asked[0].messages[1:3]] == [
        "What is a bell?",
        "It rings.",
    ]


async def test_a_conversation_whose_tokens_are_spent_gets_passages_and_another_one_does_not(
    make: Make, endpoint: ModelEndpoint, store: Store
) -> None:
    endpoint.usually = says("Before you overtake.", total=100)
    answerer = make(conversation=100)
    assert not [piece for piece in await made(answerer, conversation="c1") if isinstance(piece, StandIn)]
    pieces = await made(answerer, conversation="c1")
    assert StandIn("extractive", "budget_conversation") in pieces
    assert text(pieces) == "Ring the bell before you overtake. [1]"
    assert StandIn("extractive", "budget_conversation") not in await made(answerer, conversation="c2")
    assert len(endpoint.asked) == 2
    await answerer._budget.close()
    assert await usage.read(store, ["conversation:c1", "conversation:c2"]) == {
        "conversation:c1": 100,
        "conversation:c2": 100,
    }


async def test_what_was_answered_before_costs_nothing_whatever_has_become_of_model_and_budget(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = says("Before you <b>overtake. [1][7]", total=100)
    answerer = make(remembers=10_000, day=150)
    first = await made(answerer)
    endpoint.usually = refuses(500)
    for _ in range(2):  # the budget is spent by the first of them, the breaker opened by both
        await made(answerer, Question(message="Where is the bell that I ring?"))
    again = await made(answerer)
    assert again[0] == first[0]
    assert "".join(text(again).split()) == "".join(text(first).split()) == "Beforeyouovertake.[1]"
    assert (Recalled() in again, Recalled() in first) == (True, False)
    assert not [piece for piece in again if isinstance(piece, (Spent, StandIn))]


@pytest.mark.parametrize(
    "other",
    [
        {"question": Question(message=QUESTION.message, context=Context(mode=Mode.BROWSE))},
        {"question": Question(message="When do I ring the bell!")},
        {"history": [Earlier("What is a bell?", "It rings.")]},
        {"passages": [replace(PASSAGES[0], text="Ring the bell after you overtake.")]},
    ],
    ids=["mode", "question", "history", "document"],
)
async def test_whatever_the_model_is_told_otherwise_is_another_question(
    make: Make, endpoint: ModelEndpoint, other: dict[str, Any]
) -> None:
    answerer = make(remembers=10_000)
    for _ in range(2):
        await made(answerer)
    assert len(endpoint.asked) == 1
    await made(answerer, **other)
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    "behaviour",
    [
        sends(delta("Before you"), finish("length"), counted(), END),
        sends(delta("Before you"), finish("content_filter"), counted(), END),
        sends(delta("[7]"), delta(" <b>"), finish(), counted(), END),
        half_an_answer(),
    ],
    ids=["cut short", "filtered", "nothing fit to be shown", "half"],
)
async def test_only_what_was_whole_and_fit_to_be_shown_is_remembered(
    make: Make, endpoint: ModelEndpoint, behaviour: Behaviour
) -> None:
    answerer = make(remembers=10_000)
    endpoint.then(behaviour)
    with suppress(BrokeOff):
        await made(answerer)
    endpoint.usually = says("Before you overtake. [1]")
    assert text(await made(answerer)) == "Before you overtake. [1]"
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (sends(delta(" "), delta("\n\n"), finish(), counted(), END), "llm_bad_response"),
        (sends(delta(" "), delta("\n"), close=True), "llm_cut_off"),
        (sends(delta("[7]"), delta(" <b>"), finish(), counted(), END), "llm_bad_response"),
        (refuses(500), "llm_unavailable"),
    ],
    ids=["white space", "white space and gone", "nothing fit to be shown", "refused"],
)
async def test_as_long_as_nothing_was_shown_the_passages_are(
    make: Make, endpoint: ModelEndpoint, behaviour: Behaviour, why: str
) -> None:
    endpoint.usually = behaviour
    pieces = await made(make())
    assert StandIn("extractive", why) in pieces
    assert text(pieces) == "Ring the bell before you overtake. [1]"


async def test_after_that_it_breaks_off_with_the_passages_at_hand(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = half_an_answer("Before you")
    with pytest.raises(BrokeOff) as broken:
        await made(make())
    assert text(broken.value.instead) == "Ring the bell before you overtake. [1]"
    (spent,) = [piece for piece in broken.value.instead if isinstance(piece, Spent)]
    assert spent.tokens > 100  # the prompt, by its characters
    assert broken.value.message.startswith("The answer broke off")


async def test_an_answer_that_is_longer_than_it_may_be_says_so(make: Make, endpoint: ModelEndpoint) -> None:
    endpoint.usually = sends(delta("Before you"), finish("length"), END)
    assert text(await made(make())) == f"Before you{CUT}"


async def test_a_model_that_finds_nothing_in_the_passages_has_not_answered(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = says(NO_ANSWER)
    assert NotHeld() in await made(make())
    endpoint.usually = says("Before you overtake.")
    assert NotHeld() not in await made(make())


async def test_without_passages_no_model_is_asked_and_nothing_is_degraded(
    make: Make, endpoint: ModelEndpoint
) -> None:
    assert await made(make(), passages=[]) == [Cited(()), StandIn("extractive"), Text(NO_ANSWER)]
    assert not endpoint.asked


async def test_the_page_that_a_visitor_names_is_no_place_to_lead_to(
    make: Make, endpoint: ModelEndpoint
) -> None:
    endpoint.usually = says("See https://evil.test/login and [it](https://evil.test/page).")
    marked = Question(
        message="What is this?", context=Context(selected_text="A bell.", page_url="https://evil.test/page")
    )
    assert text(await made(make(), marked)) == "See (link removed) and it."


async def test_tokens_that_nobody_counted_are_estimated(make: Make, endpoint: ModelEndpoint) -> None:
    endpoint.usually = sends(delta("Before you overtake."), finish(), END)
    (spent,) = [piece for piece in await made(make()) if isinstance(piece, Spent)]
    told = sum(len(message["content"]) for message in endpoint.asked[0].messages)
    assert spent.tokens == -(-(told + len("Before you overtake.")) // 4)
