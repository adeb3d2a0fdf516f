"""An ingest, shown: a bar, what failed and a summary on a terminal; elsewhere the events on standard error say it all."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from server import terminal

from .ingest import Progress

if TYPE_CHECKING:
    from .embed import Embedding, Report


@contextmanager
def showing() -> Iterator[Callable[[Progress], None]]:
    """Within the block, what `ingest` is to call after each file."""
    if not terminal.is_watched():
        yield lambda _: None
        return
    from rich.progress import MofNCompleteColumn, TextColumn

    outcomes: Counter[str] = Counter()
    with terminal.bar(MofNCompleteColumn(), TextColumn("{task.description}", markup=False)) as bar:
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
    terminal.console().print(f"  Ingested: {told or 'nothing found'}.")


@contextmanager
def showing_embedding() -> Iterator[tuple[Callable[["Embedding"], None], Callable[["Report"], None]]]:
    """Within the block, what `embed` is to call as it goes on, and what is to be called with its report."""
    if not terminal.is_watched():
        yield lambda _: None, lambda _: None
        return
    from rich.progress import MofNCompleteColumn, TextColumn

    with terminal.bar(MofNCompleteColumn(), TextColumn("passages embedded")) as bar:
        task = bar.add_task("", total=None)

        def on_progress(embedding: "Embedding") -> None:
            bar.update(task, completed=embedding.done, total=embedding.total)

        def summary(report: "Report") -> None:
            bar.stop()
            bar.console.print(f"  Embedded: {report.embedded} new, {report.reused} known.")
            if report.status:
                left = f"  {report.left} passages have no vector ({report.status}). {report.fix}"
                bar.console.print(left, markup=False, style="yellow", soft_wrap=True)

        yield on_progress, summary
