"""From files and folders to documents in the store: run it as often as you like.

A file that is as it was is skipped, a changed one replaces its passages, one that has left an ingested folder leaves the store,
and one that cannot be read is reported while the rest goes on. Each file is one transaction: whatever ends an ingest,
the store holds whole documents only, and the next run completes it.

A file that has become unreadable keeps the version that could last be read; one that holds no text any more leaves.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.store import chat as documents
from server.store import fulltext
from server.store.engine import Store

from .files import File, Found, beneath, find
from .reading import SECONDS, ReaderProcess, Unanswered

declare(
    [
        Event(
            "document_ingested",
            "INFO",
            "A file was read and its passages are in the store.",
            {
                "document": Field("the document's ID"),
                "url": Field("where a reader finds it", free=True),
                "kind": Field("markdown, html, text or pdf"),
                "passages": Field("how many passages it was split into"),
                "change": Field("`added`, or `changed` when it replaced an older version"),
            },
        ),
        Event(
            "document_removed",
            "INFO",
            "A document left the store: its file has left the ingested folder, or holds no text any more.",
            {"document": Field("the document's ID"), "url": Field("where it was found", free=True)},
        ),
        Event(
            "document_failed",
            "WARNING",
            "A file could not be ingested; the rest went on, and the version last read stays in the store.",
            {"path": Field("the file", free=True), "reason": Field("what is wrong with it", free=True)},
        ),
        Event(
            "ingest_finished",
            "INFO",
            "An ingest is over.",
            {
                "added": Field("documents that are new"),
                "changed": Field("documents that replaced an older version"),
                "unchanged": Field("files that were as they had been"),
                "removed": Field("documents that left"),
                "failed": Field("files that could not be ingested"),
                "passages": Field("passages written"),
                "duration_ms": Field("milliseconds in all"),
            },
        ),
    ]
)

Outcome = Literal["added", "changed", "unchanged", "removed", "failed"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be ingested, and why, for its owner."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """One file is done: `done` of `total`. `reason` is given for a failure."""

    done: int
    total: int
    path: str
    outcome: Outcome
    reason: str = ""


@dataclass(slots=True)
class Report:
    """What an ingest did: how many files came to which end, passages written, and what failed."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    duration_ms: float = 0.0
    failures: tuple[Failure, ...] = ()

    @property
    def failed(self) -> int:
        """How many files could not be ingested."""
        return len(self.failures)


async def is_empty(store: Store) -> bool:
    """Whether nothing has been ingested yet. Raises ``StoreUnavailable``."""
    return not await documents.count(store)


async def ingest(
    store: Store,
    paths: Sequence[str | Path],
    *,
    base_url: str = "",
    on_progress: Callable[[Progress], None] = lambda _: None,
    seconds: float = SECONDS,
) -> Report:
    """Read the files and folders at `paths` into `store`, which must be migrated.

    `base_url` is put before the documents' addresses, which are relative otherwise. `on_progress` is called after each file.
    A file that takes more than `seconds` to read fails. Raises ``StoreUnavailable``.
    """
    started = perf_counter()
    found = await asyncio.to_thread(find, [Path(path) for path in paths], base_url)
    run = _Run(store, found, {known.source: known for known in await documents.known(store)}, on_progress)
    async with ReaderProcess(seconds) as reader:
        report = await run.all(reader)
    if report.added or report.changed or report.removed:
        await fulltext.of(store).tidy(store)
    report.duration_ms = round((perf_counter() - started) * 1e3, 3)
    log.info(
        "ingest_finished",
        added=report.added,
        changed=report.changed,
        unchanged=report.unchanged,
        removed=report.removed,
        failed=report.failed,
        passages=report.passages,
        duration_ms=report.duration_ms,
    )
    return report


class _Run:
    """One ingest: what was found, what was known, and what has been done."""

    def __init__(
        self,
        store: Store,
        found: Found,
        known: dict[str, documents.Known],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._store = store
        self._found = found
        self._known = known
        self._tell = on_progress
        seen = {file.source for file in found.files}
        self._left = [
            document
            for source, document in sorted(known.items())
            if source not in seen and beneath(source, found.folders) and not beneath(source, found.unseen)
        ]
        self._total = len(found.files) + len(found.missing) + len(self._left)
        self._done = 0
        self._report = Report()

    async def all(self, reader: ReaderProcess) -> Report:
        for missing in self._found.missing:
            self._failed(missing.path, missing.reason)
        for file in self._found.files:
            await self._file(file, reader)
        for document in self._left:
            await self._remove(document)
            self._finish(document.source, "removed")
        return self._report

    async def _file(self, file: File, reader: ReaderProcess) -> None:
        known = self._known.get(file.source)
        # An address that changed is a change, though the bytes are the same.
        fingerprint = known.fingerprint if known is not None and known.url == file.url else ""
        try:
            answer = await reader.read(file.path, fingerprint)
        except Unanswered as reason:
            self._failed(file.source, str(reason))
            return
        if "unchanged" in answer:
            self._finish(file.source, "unchanged")
        elif "unreadable" in answer:
            if answer["empty"] and known is not None:
                await self._remove(known)
                self._report.removed += 1
            self._failed(file.source, answer["unreadable"])
        else:
            await self._keep(file, answer, "added" if known is None else "changed")

    async def _keep(self, file: File, answer: dict[str, Any], change: Literal["added", "changed"]) -> None:
        document = documents.Document(
            id=document_id(file.source),
            source=file.source,
            url=file.url,
            title=answer["title"],
            kind=answer["kind"],
            fingerprint=answer["fingerprint"],
            ingested_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            passages=answer["parts"],
        )
        await documents.replace(self._store, document)
        log.info(
            "document_ingested",
            document=document.id,
            url=file.url,
            kind=document.kind,
            passages=len(document.passages),
            change=change,
        )
        self._report.passages += len(document.passages)
        self._finish(file.source, change)

    async def _remove(self, document: documents.Known) -> None:
        await documents.remove(self._store, document.id)
        log.info("document_removed", document=document.id, url=document.url)

    def _failed(self, path: str, reason: str) -> None:
        log.warning("document_failed", path=path, reason=reason)
        self._report.failures = (*self._report.failures, Failure(path, reason))
        self._finish(path, "failed", reason)

    def _finish(self, path: str, outcome: Outcome, reason: str = "") -> None:
        self._done += 1
        if outcome != "failed":
            setattr(self._report, outcome, getattr(self._report, outcome) + 1)
        self._tell(Progress(self._done, self._total, path, outcome, reason))


def document_id(source: str) -> str:
    """The ID of the document at the path `source`: 16 hex digits, the same whenever it is ingested."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:16]
