"""A time in which the log cannot be written: told once when it begins, and once when it is over."""

import errno
import time

from pipeline.catalogue import Event, Field, declare
from pipeline.log import Log, standard_error

declare(
    [
        Event(
            "log_write_failed",
            "ERROR",
            "The log cannot be written; events wait in the ring. Told on standard error, once for each outage.",
            {
                "errno": Field("the error's symbol, such as ENOSPC"),
                "message": Field("the error's text", free=True),
                "waiting_bytes": Field("what waits"),
            },
        ),
        Event(
            "log_write_resumed",
            "WARNING",
            "The log can be written again.",
            {"seconds": Field("how long it could not be"), "errno": Field("the error that it began with")},
            always=True,
        ),
    ]
)


class Outage:
    """Whether there is one; `since` when, in seconds of the monotonic clock, and the symbol of the error that it began with."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.since: float | None = None
        self.failure = ""

    def begin(self, error: Exception, waiting_bytes: int) -> None:
        """There is one, if there was none."""
        if self.since is None:
            self.since = time.monotonic()
            self.failure = symbol(error)
            standard_error.error(
                "log_write_failed", errno=self.failure, message=str(error), waiting_bytes=waiting_bytes
            )

    def end(self) -> None:
        """There is none any more."""
        if self.since is not None:
            seconds = round(time.monotonic() - self.since, 3)
            self.since = None
            self._log.own("log_write_resumed", seconds=seconds, errno=self.failure)


def symbol(error: Exception) -> str:
    """The name of an error: `ENOSPC` for an ``OSError`` that has a number, else its type."""
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, type(error).__name__) if number else type(error).__name__
