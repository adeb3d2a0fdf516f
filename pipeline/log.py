"""The call: `log.info("email_sent", to_email=address)` is an event name and keyword fields.

An event is complete when the call returns: it carries the request it belongs to, its secrets are gone, it is encoded,
and its bytes lie where the writer will find them. Nothing here waits and nothing here raises: a value that cannot be
encoded is described instead, and an event for which there is no room is counted.

`boot` and `seq` are given out here, under one lock, so that a gap in `seq` is a loss, or one of those that `pipeline.reading.gaps` knows.
"""

import secrets
import string
import sys
import threading
import time
from time import time as now
from typing import Any, Protocol

from orjson import dumps

from .catalogue import LEVELS, PLANS, RESERVED, Level, Observe, Plan
from .context import Request, current
from .record import DEL, LINE_LIMIT, MARK, OPTIONS, encode, printable, text
from .redact import REDACTED, redacted, redacted_fields, secret_name

SERVICE = "chatkit-backend"
DURABLE = 45
"""The rank of what is waited for: it has room where an error has, and no `LOG_LEVEL` leaves it out."""
OWN = 50
"""The rank of what the log tells of itself: above every level."""

Fields = dict[str, Any]


class NotDurable(Exception):
    """The event log cannot promise now that an event survives a power cut."""


class Sink(Protocol):
    """Where encoded events go."""

    def accept(  # noqa: PLR0917 - the way of every event: a tuple would cost
        self, line: bytes, level: int, seq: int, request: int, observe: Observe | None, fields: Fields
    ) -> int:
        """Take one encoded event; its number, 0 when there is no room.

        `request` is the hash of the request that it belongs to; `fields` are those that it was made of, where `observe` wants them.
        Never waits, never raises; calls come one at a time.
        """

    def check_durable(self) -> None:
        """Raise ``NotDurable`` when the disk is known not to take anything."""

    async def flushed(self, number: int) -> None:
        """Return when the event with that number is flushed. Raises ``NotDurable``."""


def _level(event: str, unknown: Level) -> Level:
    """The catalogue's level for `event`; `unknown` for one that is not in it."""
    plan = PLANS.get(event)
    return unknown if plan is None else plan.level


class StandardError:
    """The sink before the log is open and after it is closed."""

    def accept(self, line: bytes, level: int, seq: int, *_: Any) -> int:  # noqa: ARG002
        """Write `line` to standard error, if there still is one."""
        try:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
        except (OSError, ValueError, AttributeError):
            return 0  # Nobody is left to tell.
        return seq

    def check_durable(self) -> None:
        """It never is."""
        raise NotDurable("the event log is not open")

    async def flushed(self, number: int) -> None:  # noqa: ARG002
        """It never is."""
        self.check_durable()


class Log:
    """One program's events. A module takes the shared `log`; `eventlog` directs it to disk."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held while an event gets its number and its place. Re-entrant: a finaliser may log."""
        self._threshold = LEVELS["INFO"]
        self._sink: Sink = StandardError()
        self._seq = 0
        self._millisecond = -1
        self._second = -1
        self._stamp = self._prefix = ""
        self._kinds: dict[str, dict[str, str]] = {level: {} for level in LEVELS}
        self.identify(boot="", version="", config="")

    def direct(self, sink: Sink | None, *, level: Level = "INFO") -> None:
        """Send events to `sink` from now on; None is standard error."""
        with self.lock:
            self._sink = sink or StandardError()
            self._threshold = LEVELS[level]

    def identify(self, *, boot: str, version: str, config: str) -> None:
        """Name the process start whose events these are; `seq` begins at 1 again."""
        with self.lock:
            self.boot = boot
            self._boot = f',"boot":{text(boot)},"seq":'
            self._about = f',"version":{text(version)},"config":{text(config)}'
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

    def record(self, level: Level, event: str, fields: Fields) -> None:
        """As the method named for `level`, for fields that are in a dict already; it is handed over."""
        self._emit(level, LEVELS[level], event, fields)

    async def durable(self, event: str, /, **fields: Any) -> None:
        """Record a fact, and return when it is flushed to the disk: no power cut takes it away.

        Its level is the catalogue's. Raises ``NotDurable`` when the disk does not take it now; the event may then be in the log all the
        same, later.
        """
        self._sink.check_durable()
        await self._sink.flushed(self._emit(_level(event, "INFO"), DURABLE, event, fields))

    def own(self, event: str, /, **fields: Any) -> int:
        """Record something about the log itself: room is kept for it when there is none for anything else. Its number in the ring."""
        return self._emit(_level(event, "WARNING"), OWN, event, fields)

    def line(self, level: Level, event: str, **fields: Any) -> bytes:
        """The next event as a line that the caller writes itself; it has its place in `seq`."""
        caught = _Caught()
        with self.lock:
            sink, self._sink = self._sink, caught
            try:
                self._emit(level, OWN, event, fields)
            finally:
                self._sink = sink
        return caught.line

    def _emit(self, level: Level, number: int, event: str, fields: Fields) -> int:
        # The way of every event: one function, because each call and each line is paid for by all of them.
        try:
            known, free, always, observe, _ = PLANS.get(event, _NO_PLAN)
            if number < self._threshold and not always:
                return 0
            if free or not known.issuperset(fields):
                fields = _searched(fields, known, free)
        except Exception as error:  # A value whose own methods fail must not fail the caller.
            event, fields, observe = str(event)[:128], {"log_call_failed": type(error).__name__}, None
        # What may call others' code happens before the lock is taken.
        request = current() or _NO_REQUEST
        try:
            body = dumps(fields, printable, OPTIONS)
            if len(body) > _PLENTY or not body.isascii() or DEL in body:
                body = encode(fields, _PLENTY)
        except Exception:
            body = encode(fields, _PLENTY)
        kinds = self._kinds[level]
        kind = kinds[event] if event in kinds else self._kind(level, event)
        lock = self.lock
        lock.acquire()  # half the time of `with`
        try:
            seq = self._seq = self._seq + 1
            millisecond = int(now() * 1000)
            stamp = self._stamp if millisecond == self._millisecond else self._stamped(millisecond)
            head = f"{stamp}{kind}{request.head}{self._boot}{seq}{self._about}{request.trace}{',' if fields else ''}"
            return self._sink.accept(head.encode() + body[1:], number, seq, request.hash, observe, fields)
        finally:
            lock.release()

    def _kind(self, level: Level, event: str) -> str:
        kind = f',"level":"{level}","service":"{SERVICE}","event":{text(event)},"request_id":'
        if event in PLANS:  # What others make up is not kept.
            self._kinds[level][event] = kind
        return kind

    def _stamped(self, millisecond: int) -> str:
        """The beginning of a line of that time (ms since the epoch); what changes once a second is made once a second."""
        second, rest = divmod(millisecond, 1000)
        if second != self._second:
            self._prefix = time.strftime('{"timestamp":"%Y-%m-%dT%H:%M:%S.', time.gmtime(second))
            self._second = second
        self._millisecond = millisecond
        self._stamp = f'{self._prefix}{rest:03d}Z"'
        return self._stamp


class _Caught:
    """A sink that keeps the line for its caller."""

    line = b""

    def accept(self, line: bytes, level: int, seq: int, *_: Any) -> int:  # noqa: ARG002
        """Keep `line`."""
        self.line = line
        return seq

    def check_durable(self) -> None:
        """It never is."""
        raise NotDurable

    async def flushed(self, number: int) -> None:  # noqa: ARG002
        """It never is."""
        raise NotDurable


_NO_REQUEST = Request("", "null")
_NO_REQUEST.hash = 0
_PLENTY = LINE_LIMIT - len(MARK) - 1_000
"""What is left for an event's own fields by the fixed ones, whose names and IDs are cut to 128 bytes each."""


def new_boot() -> str:
    """A name for a process start: six letters and digits."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))


_NO_PLAN = Plan(frozenset(), (), always=False, observe=None, level="INFO")


def _searched(fields: Fields, known: frozenset[str], free: tuple[str, ...]) -> Fields:
    """`fields` without secrets: free text is searched, and so is everything that the catalogue does not know."""
    if not known:
        return {_own(name): value for name, value in redacted_fields(fields).items()}
    clean: Fields = {}
    for name, value in fields.items():
        if name in known:
            clean[name] = redacted(value) if name in free else value
        else:
            clean[_own(name)] = REDACTED if secret_name(name, value) else redacted(value)
    return clean


def _own(name: str) -> str:
    """The name of an event's own field: never one that every event has."""
    return f"{name}_" if name in RESERVED else name


log = Log()
"""The program's events."""

standard_error = Log()
"""Events about the log itself, for when it cannot take them; they have a `seq` of their own."""
