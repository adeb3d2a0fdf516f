"""Commands that somebody watches: a bar and a sentence on a terminal, where events would write over them; events everywhere else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.log import log

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


def is_watched() -> bool:
    """Whether somebody looks at standard error."""
    return sys.stderr.isatty()


def console() -> "Console":
    """Where to write what is for people."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@contextmanager
def bar(*columns: "ProgressColumn") -> Iterator["Progress"]:
    """Within the block a bar with these columns is shown, and only errors are told as events."""
    from rich.progress import BarColumn, Progress

    log.direct(None, level="ERROR")
    try:
        with Progress(BarColumn(), *columns, console=console(), transient=True) as shown:
            yield shown
    finally:
        log.direct(None)
