"""Passages get their vectors with an ingest: only what is new is paid for, and what fails is told and gone on with."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.chat.embed import BATCH, CHARACTERS, SHORTEST, Embedding, embed
from server.chat.ingest import ingest
from server.store import chat as documents
from server.store import vectors
from server.store.engine import Store
from server.upstream.breaker import Tolerance
from server.upstream.embeddings import Embeddings
from server.upstream.endpoint import Model
from tests.embedding_endpoint import answers, changed, embeds, meaning
from tests.model_endpoint import Behaviour, ModelEndpoint, refuses, serving
from tests.reading_log import events

Make = Callable[..., Embeddings]


@pytest.fixture
def endpoint() -> Iterator[ModelEndpoint]:
    with serving() as one:
        one.embeds = embeds()
        yield one


@pytest.fixture
async def model(endpoint: ModelEndpoint) -> AsyncIterator[Make]:
    made: list[Embeddings] = []

    def one(name: str = "one") -> Embeddings:
        made.append(Embeddings(Model(endpoint.url, name, "sk-key"), 2.0, Tolerance()))
        return made[-1]

    yield one
    for embeddings in made:
        await embeddings.close()


async def add(store: Store, name: str, *texts: str) -> None:
    parts = [("Heading", f"a{number}", text) for number, text in enumerate(texts)]
    await documents.replace(
        store, documents.Document(name, name, f"{name}.md", name, "markdown", "", "", parts)
    )


def asked(endpoint: ModelEndpoint) -> list[str]:
    """The texts that the endpoint was asked for, since this was last called."""
    found = [text for one in endpoint.asked for text in one.texts]
    endpoint.asked.clear()
    return found


def clock() -> int:
    return 1_800_000_000_000


async def test_every_passage_gets_the_vector_of_its_heading_and_text(
    database: Store, model: Make, endpoint: ModelEndpoint
) -> None:
    await add(database, "a", *[f"walrus{number}" for number in range(BATCH + 8)])
    seen: list[Embedding] = []
    with events() as logged:
        report = await embed(database, model(), clock, on_progress=seen.append)
    assert (report.embedded, report.reused, report.status) == (BATCH + 8, 0, "")
    assert [len(one.texts) for one in endpoint.asked] == [BATCH, 8]
    assert endpoint.asked[0].texts[0] == "Heading\nwalrus0"
    assert seen == [Embedding(BATCH, BATCH + 8), Embedding(BATCH + 8, BATCH + 8)]
    (line,) = [line for line in logged if line["event"] == "passages_embedded"]
    assert (line["embedded"], line["reused"], line["tokens"]) == (BATCH + 8, 0, 7 * (BATCH + 8))
    row = (await vectors.stored(database, "one", 0, 1))[0]
    expected = np.array(meaning("Heading\nwalrus0"))
    assert np.allclose(np.frombuffer(row.vector, "<f4"), expected / np.linalg.norm(expected))


async def test_a_second_run_asks_for_nothing(database: Store, model: Make, endpoint: ModelEndpoint) -> None:
    await add(database, "a", "walrus")
    await embed(database, model(), clock)
    asked(endpoint)
    report = await embed(database, model(), clock)
    assert (report.embedded, report.reused, asked(endpoint)) == (0, 0, [])


async def test_a_changed_document_pays_for_its_changed_passages_only(
    database: Store, model: Make, endpoint: ModelEndpoint
) -> None:
    await add(database, "a", "walrus", "badger", "otter")
    await add(database, "b", "vole")
    await embed(database, model(), clock)
    asked(endpoint)
    await add(database, "a", "otter", "walrus", "weasel")
    report = await embed(database, model(), clock)
    assert asked(endpoint) == ["Heading\nweasel"]
    assert (report.embedded, report.reused) == (1, 2)
    assert await vectors.missing(database, "one") == 0
    assert await vectors.known(database, [vectors.digest_of("one", "Heading", "badger")]) == set()


async def test_the_same_text_in_two_places_is_asked_for_once(
    database: Store, model: Make, endpoint: ModelEndpoint
) -> None:
    await add(database, "a", "walrus", "walrus")
    report = await embed(database, model(), clock)
    assert (asked(endpoint), report.embedded, report.reused) == (["Heading\nwalrus"], 1, 1)
    assert await vectors.missing(database, "one") == 0


async def test_another_model_embeds_all_again_and_the_vectors_of_the_first_go(
    database: Store, model: Make, endpoint: ModelEndpoint
) -> None:
    await add(database, "a", "walrus", "badger")
    await embed(database, model(), clock)
    asked(endpoint)
    await embed(database, model("two"), clock)
    assert len(asked(endpoint)) == 2
    assert (await vectors.missing(database, "two"), await vectors.dimensions(database, "one")) == (0, None)


async def test_anew_asks_for_all_again(database: Store, model: Make, endpoint: ModelEndpoint) -> None:
    await add(database, "a", "walrus")
    await embed(database, model(), clock)
    endpoint.embeds = embeds(lambda text: [*meaning(text), 1.0])
    asked(endpoint)
    report = await embed(database, model(), clock, anew=True)
    assert (report.embedded, asked(endpoint)) == (1, ["Heading\nwalrus"])
    assert await vectors.dimensions(database, "one") == len(meaning("")) + 1


@pytest.mark.parametrize(
    ("behaviour", "failure", "status", "fix"),
    [
        (refuses(401), "unavailable", "HTTP_401", "EMBEDDING_API_KEY"),
        (refuses(404), "unavailable", "HTTP_404", "EMBEDDING_MODEL"),
        (refuses(400), "unavailable", "HTTP_400", "EMBEDDING_MODEL"),
        (refuses(500), "unavailable", "HTTP_500", "EMBEDDING_BASE_URL"),
        (answers(b"{}"), "bad_response", "BAD_JSON", "EMBEDDING_BASE_URL"),
        (changed(lambda told: told["data"].pop()), "bad_response", "WRONG_COUNT", "EMBEDDING_BASE_URL"),
        (embeds(lambda text: [*meaning(text), 1.0]), "bad_response", "WRONG_DIMENSIONS", "--embed-anew"),
    ],
)  # fmt: skip
async def test_a_model_that_fails_is_told_with_what_to_do_and_the_next_run_goes_on(
    database: Store,
    model: Make,
    endpoint: ModelEndpoint,
    behaviour: Behaviour,
    failure: str,
    status: str,
    fix: str,
) -> None:
    await add(database, "a", *[f"walrus{number}" for number in range(BATCH + 8)])
    endpoint.then(embeds())
    endpoint.embeds = behaviour
    with events() as logged:
        report = await embed(database, model(), clock)
    assert (report.embedded, report.left, report.status) == (BATCH, 8, status)
    (line,) = [line for line in logged if line["event"] == "passages_not_embedded"]
    assert (line["embedded"], line["left"], line["failure"], line["status"]) == (BATCH, 8, failure, status)
    assert fix in line["fix"]
    assert line["fix"] == report.fix
    assert ("Run the same command again" in line["fix"]) == (status != "WRONG_DIMENSIONS")

    endpoint.embeds = embeds()
    asked(endpoint)
    report = await embed(database, model(), clock)
    assert (report.embedded, report.status, len(asked(endpoint))) == (8, "", 8)


async def test_what_was_to_be_embedded_anew_and_failed_is_gone_on_with_and_not_begun_again(
    database: Store, model: Make, endpoint: ModelEndpoint
) -> None:
    await add(database, "a", *[f"walrus{number}" for number in range(BATCH + 8)])
    await embed(database, model(), clock)
    endpoint.then(embeds(), refuses(500))
    report = await embed(database, model(), clock, anew=True)
    assert (report.embedded, report.left) == (BATCH, 8)
    assert "without --embed-anew" in report.fix
    assert (await embed(database, model(), clock)).embedded == 8


async def test_a_text_that_is_too_long_for_the_model_is_shortened_and_no_other(
    database: Store, model: Make, endpoint: ModelEndpoint
) -> None:
    async def of_a_short_breath(request: Any) -> Any:
        texts = (await request.json())["input"]
        too_long = any(len(text) > 600 for text in texts)
        return await (refuses(413) if too_long else embeds())(request)

    endpoint.embeds = of_a_short_breath
    await add(database, "a", *[f"walrus{number}" for number in range(7)], "badger " * 200)
    report = await embed(database, model(), clock)
    assert (report.embedded, report.status) == (8, "")
    taken = [one.texts for one in endpoint.asked if all(len(text) <= 600 for text in one.texts)]
    lengths = sorted(len(text) for texts in taken for text in texts)
    assert lengths[:7] == [15] * 7
    assert SHORTEST < lengths[7] <= 600


async def test_what_is_asked_for_is_bounded_and_printable(
    database: Store, model: Make, endpoint: ModelEndpoint
) -> None:
    await add(database, "a", "walrus \x07 " * 1_000)
    await embed(database, model(), clock)
    (text,) = asked(endpoint)
    assert len(text) == CHARACTERS
    assert "\x07" not in text


async def test_a_document_that_leaves_takes_its_vectors_along(
    store: Store, model: Make, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.md").write_text(f"# {name}\n\nAbout {name}.\n")
    await ingest(store, [folder])
    await embed(store, model(), clock)
    kept = len(await vectors.stored(store, "one", 0, 100))
    (folder / "two.md").unlink()
    await ingest(store, [folder])
    await embed(store, model(), clock)
    assert kept == 2 * len(await vectors.stored(store, "one", 0, 100))
    assert len(asked(endpoint)) == kept
