"""An ingest, shown: a bar, what failed and a summary on a terminal; elsewhere the events on standard error say it all."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.log import log

from .ingest import Progress

if TYPE_CHECKING:
    from rich.console import Console

    from .embed import Embedding, Report


@contextmanager
def showing() -> Iterator[Callable[[Progress], None]]:
    """Within the block, what `ingest` is to call after each file."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with _alone(), _bar() as on_progress:
        yield on_progress


@contextmanager
def showing_embedding() -> Iterator[tuple[Callable[["Embedding"], None], Callable[["Report"], None]]]:
    """Within the block, what `embed` is to call as it goes on, and what is to be called with its report."""
    if not sys.stderr.isatty():
        yield lambda _: None, lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = _console()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("passages embedded"))
    with _alone(), Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def on_progress(embedding: "Embedding") -> None:
            bar.update(task, completed=embedding.done, total=embedding.total)

        def summary(report: "Report") -> None:
            bar.stop()
            console.print(f"  Embedded: {report.embedded} new, {report.reused} known.")
            if report.status:
                left = f"  {report.left} passages have no vector ({report.status}). {report.fix}"
                console.print(left, markup=False, style="yellow", soft_wrap=True)

        yield on_progress, summary


@contextmanager
def _alone() -> Iterator[None]:
    """Within the block only errors are told as events: they and a bar would write over each other."""
    log.direct(None, level="ERROR")
    try:
        yield
    finally:
        log.direct(None)


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = _console()
    outcomes: Counter[str] = Counter()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def on_progress(progress: Progress) -> None:
            outcomes[progress.outcome] += 1
            bar.update(
                task, completed=progress.done, total=progress.total, description=Path(progress.path).name
            )
            if progress.outcome == "failed":
                bar.console.print(
                    f"  left out  {progress.path}: {progress.reason}", markup=False, style="yellow"
                )

        yield on_progress
    told = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
    console.print(f"  Ingested: {told or 'nothing found'}.")
