"""Steps that can fail for reasons outside of us: each says what it does and what to do when it cannot be done.

What was expected to go wrong becomes ``StepFailed`` with a sentence for whoever is at the terminal; what was not is a bug and says
so. Either is one event, never a trace.
"""

import contextlib
from collections.abc import Iterator

from pipeline.catalogue import Event, Field, declare
from pipeline.log import Log

declare(
    [
        Event(
            "start_failed",
            "ERROR",
            "The server or a command could not start: told on standard error, and in the log if it could be opened.",
            {
                "what": Field("what could not be done"),
                "reason": Field("the system's own words", free=True),
                "fix": Field("what to do", free=True),
            },
        )
    ]
)


class StepFailed(Exception):
    """What could not be done, why in the system's own words, and what to do about it."""

    def __init__(self, what: str, reason: str, fix: str) -> None:
        super().__init__(f"cannot {what}: {reason}")
        self.what = what
        self.reason = reason
        self.fix = fix

    @classmethod
    def unforeseen(cls, error: BaseException) -> "StepFailed":
        """For what no step expected."""
        return cls(
            "start",
            f"{type(error).__name__}: {error}",
            "This is a bug of ChatKit's; please report it with this line.",
        )

    def tell(self, log: Log) -> None:
        """Record it as one event."""
        log.error("start_failed", what=self.what, reason=self.reason, fix=self.fix)


@contextlib.contextmanager
def step(what: str, fix: str, *expected: type[Exception]) -> Iterator[None]:
    """Within the block, errors of the `expected` types become ``StepFailed``."""
    try:
        yield
    except expected as error:
        raise StepFailed(what, str(error.__cause__ or error), fix) from error


@contextlib.contextmanager
def opening_database() -> Iterator[None]:
    """Within the block, what can go wrong with a database when it is opened or migrated."""
    from .store.engine import StoreUnavailable
    from .store.migrate import UnknownRevision

    newer = "Run the version of ChatKit that made it, or name another in DATABASE_URL."
    unusable = (
        "See DATABASE_URL. With SQLite: can its folder be written? With PostgreSQL: does it run there, and take this role, its password"
        " and this database?"
    )
    with (
        step("use the database", newer, UnknownRevision),
        step("open the database", unusable, StoreUnavailable, OSError),
    ):
        yield
