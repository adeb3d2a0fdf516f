"""From the queue to the figures: what waits is taken, asked what it measured, and counted.

Figures do not wait for the disk: this is done with each batch, each second, and whenever somebody asks.
"""

from .catalogue import Event, declare
from .exceptions import EXCEPTION_FIELDS, describe
from .figures.windows import Windows
from .log import standard_error
from .waiting import WaitingEvents

declare(
    [
        Event(
            "windows_failed",
            "ERROR",
            "A bug in the figures: the log goes on. Told on standard error.",
            EXCEPTION_FIELDS,
        )
    ]
)


def count(queue: WaitingEvents, windows: Windows) -> None:
    """Take what waits in `queue` and count it in `windows`. Figures may suffer from a bug; neither the log nor who asks must."""
    counted = 0
    observed = []
    for number, _, observe, fields in queue.take():
        counted = number or counted
        if observe is None:
            continue
        try:
            if (one := observe(fields)) is not None:
                observed.append(one)
        except Exception as error:
            standard_error.error("windows_failed", **describe(error))
    try:
        windows.observe_all(observed)
        windows.commit(counted or None)
    except Exception as error:
        standard_error.error("windows_failed", **describe(error))
