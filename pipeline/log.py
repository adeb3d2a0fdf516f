"""The call: `log.info("email_sent", to_email=address)` is an event name and keyword fields.

An event is complete when the call returns: it carries the request it belongs to, its secrets are gone, it is encoded,
and its bytes lie where the writer will find them. Nothing here waits and nothing here raises: a value that cannot be
encoded is described instead, and an event for which there is no room is counted.

`boot` and `seq` are given out here, under one lock, so that a gap in `seq` is always a loss.
"""

import sys
import threading
import time
from typing import Any, Protocol

from . import record
from .catalogue import LEVELS, PLANS, RESERVED, Level, Observation
from .context import current
from .redact import REDACTED, redacted, redacted_fields, secret_name

SERVICE = "chatkit-backend"
OWN = 50
"""The rank of what the log tells of itself: above every level."""


class Sink(Protocol):
    """Where encoded events go."""

    def accept(self, line: bytes, level: int, seq: int, observation: Observation | None) -> None:
        """Take one encoded event. Never waits, never raises, calls come one at a time."""


class StandardError:
    """The sink before the log is open and after it is closed."""

    def accept(self, line: bytes, level: int, seq: int, observation: Observation | None) -> None:  # noqa: ARG002
        """Write `line` to standard error, if there still is one."""
        try:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
        except (OSError, ValueError, AttributeError):
            pass  # Nobody is left to tell.


class Log:
    """One program's events. A module takes the shared `log`; `eventlog` directs it to disk."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # re-entrant: a value's own __str__ may log
        self._threshold = LEVELS["INFO"]
        self._sink: Sink = StandardError()
        self._seq = 0
        self._second = -1
        self._prefix = ""
        self.boot = ""
        self._version = ""
        self._config = ""

    def direct(self, sink: Sink | None, *, level: Level = "INFO") -> None:
        """Send events to `sink` from now on; None is standard error."""
        with self._lock:
            self._sink = sink or StandardError()
            self._threshold = LEVELS[level]

    def identify(self, *, boot: str, version: str, config: str) -> None:
        """Name the process start whose events these are; `seq` begins at 1 again."""
        with self._lock:
            self.boot, self._version, self._config = boot, version, config
            self._seq = 0

    def debug(self, event: str, /, **fields: Any) -> None:
        """Record a detail that matters only to who develops."""
        self._emit("DEBUG", 10, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Record a fact."""
        self._emit("INFO", 20, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Record something that somebody should look at in the day."""
        self._emit("WARNING", 30, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Record something that is broken."""
        self._emit("ERROR", 40, event, fields)

    def own(self, event: str, /, **fields: Any) -> None:
        """Record, as a warning, something about the log itself: room is kept for it when there is none for anything else."""
        self._emit("WARNING", OWN, event, fields)

    def line(self, level: Level, event: str, **fields: Any) -> bytes:
        """The next event as a line that the caller writes itself; it has its place in `seq`."""
        with self._lock:
            return self._encoded(level, event, fields)

    def _emit(self, level: Level, number: int, event: str, fields: dict[str, Any]) -> None:
        try:
            plan = PLANS.get(event)
            if number < self._threshold and not (plan is not None and plan.always):
                return
            observation = None
            if plan is None:
                fields = _unknown(fields)
            else:
                if fields.keys() <= plan.known:
                    for name in plan.free:
                        if name in fields:
                            fields[name] = redacted(fields[name])
                else:
                    fields = _partly_known(fields, plan.known, plan.free)
                if plan.observe is not None:
                    observation = plan.observe(fields)
        except Exception as error:  # A value whose own methods fail must not fail the caller.
            event, fields, observation = str(event)[:128], {"log_call_failed": type(error).__name__}, None
        with self._lock:
            line = self._encoded(level, event, fields)
            self._sink.accept(line, number, self._seq, observation)

    def _encoded(self, level: Level, event: str, fields: dict[str, Any]) -> bytes:
        self._seq += 1
        request = current()
        head: dict[str, Any] = {
            "timestamp": self._timestamp(),
            "level": level,
            "service": SERVICE,
            "event": event,
            "request_id": None if request is None else request.request_id,
            "boot": self.boot,
            "seq": self._seq,
            "version": self._version,
            "config": self._config,
        }
        if request is not None and request.trace_id is not None:
            head["trace_id"] = request.trace_id
            head["span_id"] = request.span_id
        head.update(fields)
        return record.encode(head)

    def _timestamp(self) -> str:
        """Now, as `2026-01-01T12:34:56.789Z`; what changes once a second is made once a second."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._second = second
        return f"{self._prefix}{int((now - second) * 1000):03d}Z"


def _unknown(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event that no catalogue describes: every name and every value is searched."""
    clean = redacted_fields(fields)
    if not RESERVED.isdisjoint(clean):
        clean = {f"{name}_" if name in RESERVED else name: value for name, value in clean.items()}
    return clean


def _partly_known(fields: dict[str, Any], known: frozenset[str], free: tuple[str, ...]) -> dict[str, Any]:
    clean: dict[str, Any] = {}
    for name, value in fields.items():
        if name in known:
            clean[name] = redacted(value) if name in free else value
        else:
            safe = REDACTED if secret_name(name, value) else redacted(value)
            clean[f"{name}_" if name in RESERVED else name] = safe
    return clean


log = Log()
"""The program's events."""

standard_error = Log()
"""Events about the log itself, for when it cannot take them; they have a `seq` of their own."""
