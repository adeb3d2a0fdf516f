"""Third-party `logging` records arrive in the same file in the same shape, as `log_record` events."""

import logging
from typing import Any

from .catalogue import Event, Field, declare
from .exceptions import EXCEPTION_FIELDS, describe
from .log import log

declare(
    [
        Event(
            "log_record",
            "INFO",
            "A library spoke through Python's `logging`; the event's level is the record's.",
            {
                "logger": Field("the logger's name"),
                "message": Field("the formatted message", free=True),
                **EXCEPTION_FIELDS,
            },
        )
    ]
)

# What a LogRecord has of its own; anything else came by `extra=` and is kept as a field.
_OWN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


class Bridge(logging.Handler):
    """A `logging` handler that emits events."""

    def createLock(self) -> None:  # noqa: N802 - logging's own name
        """None: `Log` has one, and two that are taken in either order would one day stop everything."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Turn `record` into an event. Never raises."""
        try:
            message = record.getMessage()
        except Exception as error:
            message = f"{record.msg!r} [arguments that do not fit: {type(error).__name__}]"
        fields: dict[str, Any] = {name: value for name, value in record.__dict__.items() if name not in _OWN}
        fields |= {"logger": record.name, "message": message}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= describe(record.exc_info[1])
        if record.levelno >= logging.ERROR:
            log.error("log_record", **fields)
        elif record.levelno >= logging.WARNING:
            log.warning("log_record", **fields)
        elif record.levelno >= logging.INFO:
            log.info("log_record", **fields)
        else:
            log.debug("log_record", **fields)


def take_over_logging(level: int = logging.INFO) -> None:
    """Route everything that goes through `logging` and `warnings` at or above `level` to the event log."""
    logging.basicConfig(handlers=[Bridge()], level=level, force=True)
    logging.captureWarnings(True)
