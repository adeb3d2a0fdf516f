"""Ingesting: idempotent, whole documents or none, and one broken file never stops the rest."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.chat.ingest import Progress, ingest, is_empty
from server.chat.reading import ReaderProcess
from server.chat.retrieval import FullTextRetriever
from server.store import chat as documents
from server.store.engine import Store
from tests.harness import ROOT, clean_environment
from tests.reading_log import events
from tests.server.chat.documents import library, pdf


async def _rows(store: Store) -> list[tuple[str, int, str, str]]:
    async with store.fetching("test") as fetch:
        return [
            tuple(row)
            for row in await fetch(
                "SELECT d.source, p.position, p.heading, p.text FROM passages p JOIN documents d ON d.id = p.document_id "
                "ORDER BY d.source, p.position",
                (),
            )
        ]


@pytest.fixture
def store(database: Store) -> Store:
    """On either kind of database."""
    return database


_INDEX_IS_WHOLE = {
    # Raises when index and passages differ (https://sqlite.org/fts5.html#the_integrity_check_command).
    "sqlite": "INSERT INTO passages_fts(passages_fts, rank) VALUES ('integrity-check', 1)",
    # Raises when there is one without the other.
    "postgresql": "SELECT 1 / (NOT EXISTS (SELECT 1 FROM passages FULL JOIN passages_fts i USING (id) WHERE text IS NULL OR stems IS NULL))::int",
}


async def _is_whole(store: Store) -> bool:
    """Every document has all its passages, and the index holds exactly those."""
    async with store.writing("test") as connection:
        await connection.exec_driver_sql(_INDEX_IS_WHOLE[store.dialect.KIND])
        partial = await connection.exec_driver_sql(
            "SELECT count(*) FROM documents d WHERE passages <> (SELECT count(*) FROM passages WHERE document_id = d.id)"
        )
        orphans = await connection.exec_driver_sql(
            "SELECT count(*) FROM passages WHERE document_id NOT IN (SELECT id FROM documents)"
        )
        return bool(partial.scalar_one() == 0 and orphans.scalar_one() == 0)


async def test_every_kind_of_file_is_found_by_its_words(store: Store, tmp_path: Path) -> None:
    assert await is_empty(store)
    report = await ingest(store, [library(tmp_path)])

    assert (report.added, report.failed) == (5, 0)
    assert not await is_empty(store)
    retriever = FullTextRetriever(store)
    for words, url in [
        ("stationctl restart", "operations.md#restarting-a-station"),
        ("electric bicycles", "prices.html#electric"),
        ("ferry rush hour", "questions.txt"),
        ("basket load kilograms", "safety.pdf#page=3"),
    ]:
        assert (await retriever.search(words, 1))[0].url.endswith(url)
    assert await _is_whole(store)


async def test_a_second_ingest_of_the_same_files_writes_nothing(store: Store, tmp_path: Path) -> None:
    folder = library(tmp_path)
    first = await ingest(store, [folder])
    before = await _rows(store)
    second = await ingest(store, [folder])

    assert (second.unchanged, second.added, second.changed, second.removed, second.passages) == (
        5,
        0,
        0,
        0,
        0,
    )
    assert first.passages == len(before)
    assert await _rows(store) == before


async def test_two_ingests_in_other_orders_leave_the_same_store(store: Store, tmp_path: Path) -> None:
    folder = library(tmp_path)
    await ingest(store, sorted(folder.iterdir(), reverse=True))
    backwards = await _rows(store)
    for path in folder.iterdir():
        await ingest(store, [path])
    await ingest(store, [folder])
    assert await _rows(store) == backwards


async def test_a_changed_file_is_replaced_and_the_index_with_it(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "docs" / "a.md"
    file.parent.mkdir()
    file.write_text("# A\n\nabout walruses\n\n## B\n\nabout badgers")
    await ingest(store, [file.parent])
    file.write_text("# A\n\nabout penguins")
    report = await ingest(store, [file.parent])

    retriever = FullTextRetriever(store)
    assert (report.changed, report.added) == (1, 0)
    assert not await retriever.search("walruses badgers", 5)
    assert await retriever.search("penguins", 5)
    assert await _is_whole(store)


async def test_a_file_that_left_its_folder_leaves_the_store(store: Store, tmp_path: Path) -> None:
    folder = library(tmp_path)
    other = tmp_path / "library-two"
    shutil.copytree(folder, other)
    await ingest(store, [folder, other])
    (folder / "renting.md").unlink()
    with events() as written:
        report = await ingest(store, [folder])

    assert (report.removed, report.unchanged) == (1, 4)
    assert [event["url"] for event in written if event["event"] == "document_removed"] == [
        "library/renting.md"
    ]
    sources = {source for source, *_ in await _rows(store)}
    assert str(folder / "renting.md") not in sources
    assert str(other / "renting.md") in sources
    assert await _is_whole(store)


async def test_a_file_named_alone_stays_when_another_is_ingested(store: Store, tmp_path: Path) -> None:
    folder = library(tmp_path)
    await ingest(store, [folder / "renting.md"])
    report = await ingest(store, [folder / "operations.md"])
    assert report.removed == 0
    assert len({source for source, *_ in await _rows(store)}) == 2


async def test_a_broken_file_is_reported_and_the_rest_goes_on(store: Store, tmp_path: Path) -> None:
    folder = library(tmp_path)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    (folder / "bytes.txt").write_bytes(b"caf\xe9")
    (folder / "empty.md").write_text("")
    (folder / "huge.txt").touch()
    os.truncate(folder / "huge.txt", 1 << 30)
    os.mkfifo(folder / "pipe.md")
    shown: list[Progress] = []
    with events() as written:
        report = await ingest(store, [folder, folder / "pipe.md", "nowhere.md"], on_progress=shown.append)

    reasons = {Path(failure.path).name: failure.reason for failure in report.failures}
    assert report.added == 5
    assert reasons.keys() == {"broken.pdf", "bytes.txt", "empty.md", "huge.txt", "pipe.md", "nowhere.md"}
    assert "not a sound PDF" in reasons["broken.pdf"]
    assert "not utf-8" in reasons["bytes.txt"]
    assert "no text" in reasons["empty.md"]
    assert "larger than" in reasons["huge.txt"]
    assert "not a regular file" in reasons["pipe.md"]
    assert "no such file" in reasons["nowhere.md"]
    assert {event["reason"] for event in written if event["event"] == "document_failed"} == set(
        reasons.values()
    )
    assert [progress.done for progress in shown] == list(range(1, 12))
    assert {progress.total for progress in shown} == {11}


async def test_a_file_that_cannot_be_read_any_more_keeps_its_last_version_and_an_empty_one_leaves(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(pdf(["about walruses"]))
    (folder / "b.md").write_text("about badgers")
    await ingest(store, [folder])
    (folder / "a.pdf").write_bytes(b"%PDF-")
    (folder / "b.md").write_text(" \n")
    report = await ingest(store, [folder])

    retriever = FullTextRetriever(store)
    assert (report.failed, report.removed) == (2, 1)
    assert await retriever.search("walruses", 5)
    assert not await retriever.search("badgers", 5)


async def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_is_read(
    store: Store, tmp_path: Path
) -> None:
    # lexbor takes seconds for this, and more than linearly so.
    (tmp_path / "a.html").write_text("<div>" * 60_000)
    (tmp_path / "b.md").write_text("about badgers")
    report = await ingest(store, [tmp_path / "a.html", tmp_path / "b.md"], seconds=1.5)

    assert [failure.reason for failure in report.failures] == ["reading it took more than 1.5 s"]
    assert report.added == 1


async def test_a_reader_that_dies_takes_only_its_file_with_it(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("text")
    async with ReaderProcess() as reader:
        first = await reader.read(file, "")
        process = reader._process
        assert process is not None
        process.kill()
        await process.wait()
        with pytest.raises(Exception, match="ended the reader"):
            await reader.read(file, "")
        assert await reader.read(file, "") == first
    assert reader._process is None


async def test_no_event_tells_what_a_document_says(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Walrus\n\nthe walrus password is swordfish")
    with events() as written:
        await ingest(store, [tmp_path / "a.md"])
    assert [event["event"] for event in written] == ["document_ingested", "ingest_finished"]
    assert "swordfish" not in str(written)


async def test_documents_have_the_same_ids_whenever_they_are_ingested(store: Store, tmp_path: Path) -> None:
    folder = library(tmp_path)
    await ingest(store, [folder])
    first = [(known.id, known.source) for known in await documents.known(store)]
    for document, _ in first:
        await documents.remove(store, document)
    await ingest(store, [folder])
    assert [(known.id, known.source) for known in await documents.known(store)] == first


_KILLED = """
import asyncio, sys
from server.chat.ingest import ingest
from server.store.engine import Store

async def main():
    store = Store(sys.argv[1])
    await ingest(store, [sys.argv[2]], on_progress=lambda p: print(p.done, flush=True))

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 7, 20])
async def test_a_killed_ingest_leaves_whole_documents_and_the_next_one_completes_it(
    store: Store, tmp_path: Path, after: int
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(60):
        sections = [f"## Section {part}\n\nwords about topic{number}x{part}" for part in range(40)]
        (folder / f"{number:02}.md").write_text(f"# Document {number}\n\n" + "\n\n".join(sections))
    url = store._url
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs beside it
        [sys.executable, "-c", _KILLED, url, str(folder)],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    for _ in range(after):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    assert await _is_whole(store)
    kept = len(await documents.known(store))
    assert after <= kept < 60
    report = await ingest(store, [folder])
    # What PostgreSQL had been asked to commit when the kill came it may commit a moment later.
    assert report.unchanged >= kept
    assert report.unchanged + report.added == 60
    assert len(await _rows(store)) == 60 * 40
    assert await _is_whole(store)
