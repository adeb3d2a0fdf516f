"""What every `Retriever` promises, whatever database is behind it, and whether it looks at words only or at meanings, too."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.chat.embed import embed
from server.chat.hybrid import HybridRetriever
from server.chat.retrieval import SEARCHED_TERMS, FullTextRetriever, Retriever
from server.chat.vectors import Vectors
from server.clock import wall_clock
from server.store import chat as documents
from server.store.engine import Store
from server.upstream.breaker import Tolerance
from server.upstream.embeddings import Embeddings
from server.upstream.endpoint import Model
from tests.databases import Databases
from tests.embedding_endpoint import embeds
from tests.model_endpoint import serving
from tests.shared import naughty_strings

Part = tuple[str, str, str]
Add = Callable[[str, Sequence[Part]], Awaitable[None]]

SHELF: dict[str, list[Part]] = {
    "bees": [
        ("Bees", "bees", "Bees live in hives. A hive has one queen and thousands of workers."),
        ("Bees \u203a Honey", "honey", "Honey is made of nectar. Workers fan it dry with their wings."),
        ("Bees \u203a Dances", "dances", "A dancing worker tells the others where flowers are."),
    ],
    "whales": [
        ("Whales", "whales", "Whales breathe air. The blue whale is the largest animal that has ever lived."),
        (
            "Whales \u203a Songs",
            "songs",
            "Humpback whales sing for hours; the songs change from year to year.",
        ),
    ],
    "trains": [("Trains", "trains", "Night trains have couchettes. Workers of the railway wear blue.")],
    "zoë": [("Café Zoë", "", "Crème brûlée and naïve paintings. `request_id` is shown as X-Request-ID.")],
}


@pytest.fixture(scope="module", params=["words", "words and meanings"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the model that embeds answers; empty for retrieval by words alone."""
    if request.param == "words":
        yield ""
        return
    with serving() as one:
        one.embeds = embeds()
        yield one.url


@asynccontextmanager
async def _opened(
    url: str, endpoint: str
) -> AsyncIterator[tuple[Retriever, Add, Callable[[str], Awaitable[None]]]]:
    store = Store(url)
    embeddings = Embeddings(Model(endpoint, "stand-in"), 10.0, Tolerance())
    vectors = Vectors(store, "stand-in")
    retriever: Retriever = FullTextRetriever(store)
    if endpoint:
        retriever = HybridRetriever(FullTextRetriever(store), embeddings, vectors, 0.5)

    async def add(name: str, parts: Sequence[Part]) -> None:
        await documents.replace(
            store, documents.Document(name, name, f"{name}.md", name, "markdown", "", "", parts)
        )
        if endpoint:
            assert not (await embed(store, embeddings, wall_clock)).status
            await vectors.refresh()

    async def remove(name: str) -> None:
        await documents.remove(store, name)

    yield retriever, add, remove
    await embeddings.close()
    await store.close()


@pytest.fixture
async def opened(
    database_url: str, endpoint: str
) -> AsyncIterator[tuple[Retriever, Add, Callable[[str], Awaitable[None]]]]:
    async with _opened(database_url, endpoint) as both:
        yield both


@pytest.fixture
async def retriever(opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]]) -> Retriever:
    found, add, _ = opened
    for name, parts in SHELF.items():
        await add(name, parts)
    return found


async def _urls(retriever: Retriever, question: str, limit: int = 10) -> list[str]:
    return [passage.url for passage in await retriever.search(question, limit)]


async def test_the_passage_that_answers_comes_first(retriever: Retriever) -> None:
    assert (await _urls(retriever, "How do whales sing?"))[0] == "whales.md#songs"
    assert (await _urls(retriever, "What is honey made of?"))[0] == "bees.md#honey"
    assert (await _urls(retriever, "Which animal is the largest?"))[0] == "whales.md#whales"


async def test_a_passage_is_found_by_other_forms_of_its_words(retriever: Retriever) -> None:
    assert (await _urls(retriever, "singing whale"))[0] == "whales.md#songs"
    assert (await _urls(retriever, "DANCES"))[0] == "bees.md#dances"


async def test_accents_do_not_matter(retriever: Retriever) -> None:
    for question in ("creme brulee", "Crème Brûlée", "cre\u0300me", "cafe zoe"):
        assert await _urls(retriever, question) == ["zoë.md"]


async def test_a_document_whose_letters_and_accents_are_apart_is_found_like_any_other(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    retriever, add, _ = opened
    await add("apart", [("Menu", "", "cre\u0300me bru\u0302le\u0301e")])
    await add("joined", [("Menu", "", "crème brûlée")])
    for question in ("creme brulee", "crème", "bru\u0302le\u0301e"):
        scores = {passage.id: passage.score for passage in await retriever.search(question, 5)}
        assert scores.keys() == {"apart-0", "joined-0"}
        assert scores["apart-0"] == scores["joined-0"]


async def test_any_one_word_is_enough_to_be_found(retriever: Retriever) -> None:
    assert set(await _urls(retriever, "workers and whales")) == {
        "bees.md#bees",
        "bees.md#honey",
        "bees.md#dances",
        "whales.md#whales",
        "whales.md#songs",
        "trains.md#trains",
    }


async def test_scores_lie_between_0_and_1_and_fall(retriever: Retriever) -> None:
    for question in (
        "workers whales blue hives",
        "honey",
        "the largest blue whale that ever lived breathes air",
    ):
        scores = [passage.score for passage in await retriever.search(question, 10)]
        assert scores == sorted(scores, reverse=True)
        assert all(0 < score <= 1 for score in scores)


async def test_a_question_whose_telling_words_are_absent_scores_low(retriever: Retriever) -> None:
    (good, *_) = await retriever.search("where do bees live", 1)
    (poor, *_) = await retriever.search("which tariff applies to blue parcels abroad", 1)
    assert poor.score < 0.25
    assert good.score > 0.6


async def test_nothing_that_bears_on_it_is_nothing(retriever: Retriever) -> None:
    for question in ("quantum chromodynamics", "", "   ", "what is the", "?!", "\x00", "🎉", "\ud800"):
        assert await retriever.search(question, 5) == []


async def test_an_empty_store_holds_no_answer(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    assert await opened[0].search("whales", 5) == []


async def test_at_most_as_many_as_asked_for(retriever: Retriever) -> None:
    assert [len(await retriever.search("workers whales", limit)) for limit in (0, 1, 3, 50)] == [0, 1, 3, 6]


async def test_the_same_question_has_the_same_answer(retriever: Retriever) -> None:
    assert await retriever.search("workers whales", 10) == await retriever.search("workers whales", 10)


async def test_a_passage_tells_where_it_is_from_and_which_words_it_holds(retriever: Retriever) -> None:
    passage = (await retriever.search("humpback songs of the airport", 1))[0]
    assert passage.id == "whales-1"
    assert passage.heading == "Whales \u203a Songs"
    assert passage.url == "whales.md#songs"
    assert passage.text == SHELF["whales"][1][2]
    assert passage.matched.keys() == {"humpback", "song"}
    assert all(weight > 0 for weight in passage.matched.values())


async def test_a_word_that_every_passage_holds_still_finds_them(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    retriever, add, _ = opened
    await add("one", [("One", "", "walrus")])
    assert (await retriever.search("walrus", 5))[0].score > 0.25
    await add("two", [("Two", "", "walrus walrus"), ("Two", "", "walrus and badger")])
    assert len(await retriever.search("walrus", 5)) == 3
    assert (await retriever.search("walrus badger", 5))[0].id == "two-1"


async def test_of_many_the_one_that_holds_most_is_among_the_candidates(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    retriever, add, _ = opened
    filler = "Lorem ipsum dolor sit amet."
    await add("many", [("Many", f"m{number}", f"{filler} A walrus. {filler}") for number in range(80)])
    await add("often", [("Often", "often", f"{filler} Walrus, walrus, walrus and walrus. {filler}")])
    await add("above", [("The walrus", "above", f"{filler} A walrus. {filler}")])
    await add("rare", [("Rare", "rare", f"{filler} A badger. {filler}")])
    await add("late", [("Late", f"l{number}", f"{filler} A walrus. {filler}") for number in range(80)])
    best = await retriever.search("walrus", 3)
    assert {passage.url for passage in best[:2]} == {"often.md#often", "above.md#above"}
    # Though 160 passages hold the other word.
    assert (await retriever.search("walrus or badger", 1))[0].url == "rare.md#rare"


async def test_a_word_within_a_path_or_an_address_is_found_by_itself(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    retriever, add, _ = opened
    text = "See docs/how-to/burrow.md and https://badger.example.com/otter?vole=1, write to marten@stoat.example, or 3.14-weasel_x."
    await add("paths", [("Paths", "", text)])
    for word in "burrow badger otter vole marten stoat weasel 14".split():
        assert [passage.id for passage in await retriever.search(word, 5)] == ["paths-0"], word


async def test_words_of_any_script_are_found(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    retriever, add, _ = opened
    await add(
        "words", [("Words", "", "Москва Κρητικος 東京 القاهرة İstanbul Straße"), ("Other", "", "nothing")]
    )
    for word in ("москва", "ΚΡΗΤΙΚΟΣ", "東京", "القاهرة", "straße", "Istanbul"):
        assert [passage.id for passage in await retriever.search(word, 5)] == ["words-0"], word


async def test_a_small_site_scores_as_a_large_one_does(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    retriever, add, _ = opened
    await add(
        "faq",
        [("Refunds", "", "We refund your money within 14 days."), ("Opening hours", "", "We open at nine.")],
    )
    assert (await retriever.search("When do I get a refund of my money?", 1))[0].score > 0.5


async def test_what_is_replaced_or_removed_is_found_no_more(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    retriever, add, remove = opened
    await add("a", [("A", "", "walrus"), ("A", "", "badger")])
    await add("b", [("B", "", "walrus")])
    await add("a", [("A", "", "penguin")])
    assert [passage.id for passage in await retriever.search("walrus badger", 9)] == ["b-0"]
    assert [passage.id for passage in await retriever.search("penguin", 9)] == ["a-0"]
    await remove("b")
    assert await retriever.search("walrus", 9) == []


@pytest.mark.parametrize(
    "question",
    [
        '"whales',
        "whales AND",
        "NOT whales",
        "whales NEAR(songs)",
        "heading:whales",
        "{heading} : whales",
        "whales*",
        "^whales",
        "whales + songs",
        "-whales",
        "whales'; DROP TABLE passages; --",
        "(whales",
        "whales\x00songs",
        "whales \ud83d",
        "whales " + "z" * 1_990,
        "OR whales OR",
    ],
)
async def test_no_question_is_a_syntax_error(retriever: Retriever, question: str) -> None:
    assert "whales.md#whales" in await _urls(retriever, question)


async def test_any_naughty_string_is_a_question(retriever: Retriever) -> None:
    for question in naughty_strings():
        for passage in await retriever.search(question, 5):
            assert 0 < passage.score <= 1


async def test_any_naughty_string_is_a_text(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    retriever, add, remove = opened
    texts = naughty_strings()
    await add(
        "naughty", [(text[:200], text[:50], f"{text} walrus{number}") for number, text in enumerate(texts)]
    )
    for number in range(0, len(texts), 25):
        (passage,) = await retriever.search(f"walrus{number}", 5)
        assert passage.text == f"{texts[number]} walrus{number}"
    await remove("naughty")


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(questions=st.lists(st.text(max_size=2_000), max_size=40))
async def test_any_text_is_a_question(databases: Databases, endpoint: str, questions: list[str]) -> None:
    async with _opened(databases(), endpoint) as (retriever, add, _):
        for name, parts in SHELF.items():
            await add(name, parts)
        for question in questions:
            passages = await retriever.search(question, 5)
            assert len(passages) <= 5
            assert all(0 < passage.score <= 1 for passage in passages)


async def test_a_question_of_2000_characters_stays_quick(
    opened: tuple[Retriever, Add, Callable[[str], Awaitable[None]]],
) -> None:
    retriever, add, _ = opened
    words = [f"{chr(97 + number % 26)}{number}" for number in range(400)]
    for number in range(40):
        await add(f"d{number}", [("D", "", " ".join(words[part : part + 120])) for part in range(0, 250, 5)])

    async def least(question: str) -> float:
        """Seconds: the least of five, which is the one that others disturbed least."""
        taken = []
        for _ in range(5):
            started = perf_counter()
            assert len(await retriever.search(question, 5)) == 5
            taken.append(perf_counter() - started)
        return min(taken)

    # It has four hundred words, and what is looked for is the rarest two dozen of them.
    assert await least(" ".join(words)[:2_000]) < 8 * await least(" ".join(words[:SEARCHED_TERMS]))
