"""An ingest, shown: a bar, what failed and a summary on a terminal; elsewhere the events on standard error say it all."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.log import log

from .ingest import Progress


@contextmanager
def showing() -> Iterator[Callable[[Progress], None]]:
    """Within the block, what `ingest` is to call after each file."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    # The bar and the events would write over each other; an event that is an error may.
    log.direct(None, level="ERROR")
    try:
        with _bar() as on_progress:
            yield on_progress
    finally:
        log.direct(None)


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False)
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
