"""Questions with known answers, and questions that the documents cannot answer; each is asserted.

They hold for words alone, on both databases, and as well where a model embeds: one whose vectors are noise, and one that knows the
words. What full text answers well must not be answered worse.

`THRESHOLD` lies between the two kinds; `python -m tests.server.chat.test_quality` prints the best passage's score of each.

What words alone cannot tell: a question all of whose words stand in one passage that answers another, such as "What does a helmet
cost?" of a passage that says where helmets are sold and that a broken ride costs nothing. It is answered with that passage.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.chat.embed import embed
from server.chat.extract import NO_ANSWER, THRESHOLD, ExtractiveAnswerer
from server.chat.hybrid import HybridRetriever
from server.chat.ingest import ingest
from server.chat.models import Question
from server.chat.retrieval import FullTextRetriever
from server.chat.service import Chat
from server.chat.vectors import Vectors
from server.clock import wall_clock
from server.store import migrate
from server.store.engine import Store
from server.upstream.breaker import Tolerance
from server.upstream.embeddings import Embeddings
from server.upstream.endpoint import Model
from tests.databases import KINDS
from tests.embedding_endpoint import Embed, embeds, meaning, noise
from tests.model_endpoint import serving
from tests.server.chat.asking import Told, asked
from tests.server.chat.documents import library

if TYPE_CHECKING:
    from tests.postgres import Postgres

ANSWERED = [
    ("How do I trace a request?", "python -m pipeline trace ID", "operations.md#tracing-a-request"),
    ("how can i restart a station", "stationctl restart --station NAME --wait", "operations.md"),
    ("How often are keys rotated?", "every 90 days", "operations.md#rotating-the-keys"),
    ("Which command refreshes a stale map?", "stationctl map refresh", "operations.md#alarms"),
    ("What does battery_hot mean?", "over 60 degrees", "operations.md#alarms"),
    ("When are backups made?", "02:30", "operations.md#backups"),
    ("How long does a restore take?", "about ten minutes", "operations.md#backups"),
    ("How do I end a ride?", "until the light turns green", "renting.md#how-to-end-a-ride"),
    ("How many bicycles can I lend at once?", "up to three bicycles", "renting.md#how-to-start-a-ride"),
    ("When do I get my deposit back?", "within five working days", "renting.md#deposits-and-refunds"),
    ("How do I ask for a refund?", "Report a problem", "renting.md#deposits-and-refunds"),
    ("May children ride alone?", "under fourteen may not ride alone", "renting.md#children"),
    ("Where are child seats?", "Lighthouse", "renting.md#children"),
    ("What happens when all docks are taken?", "Station full", "renting.md#how-to-end-a-ride"),
    ("What does a single ride cost?", "2 euros for the first half hour", "prices.html#prices"),
    ("How much is a month pass?", "25 euros", "prices.html#passes"),
    ("Is there a discount for students?", "Students pay half", "prices.html#students"),
    ("How far does the battery last?", "60 kilometres", "prices.html#electric"),
    ("What do I do when a tyre is flat?", "Do not ride on", "questions.txt"),
    ("Can I take a bike with me on the ferry?", "outside of rush hour", "questions.txt"),
    ("whom do I call after an accident???", "555-0142", "questions.txt"),
    ("Are helmets sold?", "Pier 4", "questions.txt"),
    ("What is the largest load of a basket?", "12 kilograms", "safety.pdf#page=3"),
    ("Must I ring the bell before overtaking?", "before you overtake", "safety.pdf#page=2"),
    ("HOW DO I BRAKE ON WET PLANKS", "brake early", "safety.pdf#page=1"),
]

UNANSWERED = [
    "What is the capital of France?",
    "Who won the world cup in 2018?",
    "How do I bake bread?",
    "Tell me a joke",
    "Do you ship furniture to Canada?",
    "What is the meaning of life?",
    "Who is the CEO of your company?",
    "How do I configure Kubernetes ingress?",
    "Is there a dark mode?",
    "Which GPU do I need for training?",
    "How do I export to Excel?",
    "Can I use MongoDB instead of PostgreSQL?",
    "asdf qwer zxcv",
    "What colour is the sky?",
    "Where can I park my car?",
    "How do I reset my password?",
    "Do you have vacancies for mechanics?",
    "Why is the weather so bad today?",
    # Some of its words are there, the telling ones are not.
    "What is the wifi password on the ferry?",
    "Can I pay with bitcoin?",
    "How do I become a mechanic at a station?",
    "Which brand are the electric motors?",
    "How do I delete my account?",
    "Who is on call in August?",
    "Do you lend scooters?",
    "What is the speed limit on the pier?",
    # Furniture of the page and its code are no text.
    "alert not text color red",
    "Careers at our company",
    "What about the privacy policy and legal notice?",
    "how do I do that",
    "???",
    "你好吗",
]


async def _filled(folder: Path, url: str) -> str:
    """The URL of a store that holds the library, of which there is a copy in `folder`."""
    await migrate.upgrade(url)
    store = Store(url)
    report = await ingest(store, [library(folder)])
    await store.close()
    assert report.added == 5
    return url


@pytest.fixture(scope="module", params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("quality")
    if request.param == "sqlite":
        yield asyncio.run(_filled(folder, _sqlite(folder)))
    else:
        server: Postgres = request.getfixturevalue("postgres")
        name = server.database()
        yield asyncio.run(_filled(folder, server.url(name)))
        server.drop(name)


def _sqlite(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/chatkit.db"


@pytest.fixture
async def chat(url: str) -> AsyncIterator[Chat]:
    store = Store(url)
    yield Chat(FullTextRetriever(store), ExtractiveAnswerer())
    await store.close()


@pytest.fixture(params=[noise, meaning])
async def embedded_chat(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Chat]:
    """The same where a model embeds."""
    url = await _filled(tmp_path, _sqlite(tmp_path))
    vectors_of: Embed = request.param
    with serving() as endpoint:
        endpoint.embeds = embeds(vectors_of)
        store, embeddings = Store(url), Embeddings(Model(endpoint.url, "stand-in"), 10.0, Tolerance())
        vectors = Vectors(store, "stand-in")
        assert not (await embed(store, embeddings, wall_clock)).status
        await vectors.refresh()
        yield Chat(HybridRetriever(FullTextRetriever(store), embeddings, vectors, 0.5), ExtractiveAnswerer())
        assert len(endpoint.asked) > len(ANSWERED)
        await embeddings.close()
        await store.close()


async def _ask(chat: Chat, message: str) -> Told:
    return await asked(chat, Question(message=message))


@pytest.mark.parametrize(
    ("question", "holds", "source"), ANSWERED, ids=[question for question, *_ in ANSWERED]
)
async def test_the_answer_holds_what_was_asked_and_cites_where_it_stands(
    chat: Chat, question: str, holds: str, source: str
) -> None:
    answer = await _ask(chat, question)

    assert holds in answer.answer.replace("\xa0", " ")
    assert any(source in cited.url for cited in answer.sources)


@pytest.mark.parametrize("question", UNANSWERED)
async def test_what_the_documents_do_not_hold_is_said_plainly_and_without_sources(
    chat: Chat, question: str
) -> None:
    answer = await _ask(chat, question)

    assert answer.answer == NO_ANSWER
    assert answer.sources == []


async def test_what_words_answer_well_is_answered_as_well_where_a_model_embeds(embedded_chat: Chat) -> None:
    for question, holds, source in ANSWERED:
        answer = await _ask(embedded_chat, question)
        assert holds in answer.answer.replace("\xa0", " "), question
        assert any(source in cited.url for cited in answer.sources), question
    for question in UNANSWERED:
        assert (await _ask(embedded_chat, question)).answer == NO_ANSWER, question


async def test_a_command_is_shown_whole_with_the_sentence_that_leads_to_it(chat: Chat) -> None:
    answer = await _ask(chat, "How do I rotate the keys?")

    assert 'export STATION_KEYS="$NEW,$OLD"\nstationctl reload' in answer.answer
    assert "Put the new key first in `STATION_KEYS`" in answer.answer


async def test_the_threshold_lies_between_what_is_answered_and_what_is_not(url: str) -> None:
    scores = await _scores(url)
    assert max(scores[question] for question in UNANSWERED) < THRESHOLD
    assert min(scores[question] for question, *_ in ANSWERED) >= THRESHOLD


async def _scores(url: str) -> dict[str, float]:
    """The best passage's score for every question; 0 where nothing was found."""
    store = Store(url)
    retriever = FullTextRetriever(store)
    found = {
        question: await retriever.search(question, 1)
        for question in [*UNANSWERED, *(row[0] for row in ANSWERED)]
    }
    await store.close()
    return {question: passages[0].score if passages else 0.0 for question, passages in found.items()}


def _print_scores() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scores = asyncio.run(_scores(asyncio.run(_filled(Path(folder), _sqlite(Path(folder))))))
    for question, score in sorted(scores.items(), key=lambda row: row[1]):
        print(f"{score:.3f}  {'not ' if question in UNANSWERED else '    '}answered  {question}")


if __name__ == "__main__":
    _print_scores()
