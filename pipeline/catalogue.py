"""The vocabulary: every event, what it means, and which of its fields may hold free text.

An event is declared once, where the thing it tells of happens. The catalogue serves three readers: `log`, which spares
fields of known shape the search for secrets; the tests, which hold code, catalogue and `docs/EVENTS.md` together; and the
windows, which learn from it which events measure a response.

Free text is whatever someone else wrote: messages, exception texts, URLs, what a browser or an upstream sent. Only
there can a secret hide behind an innocent name, so only there is it searched for (see `redact`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LEVELS: dict[str, int] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}

RESERVED = frozenset(
    "timestamp level service event request_id boot seq version config trace_id span_id".split()
)
"""Fields that every event has; one of an event's own by such a name gets an underscore behind it."""


class Field(NamedTuple):
    """One field: what it means, and whether others write it (`free`)."""

    meaning: str
    free: bool = False


class Observation(NamedTuple):
    """What the windows need of one response: `duration_ms`, and whether it counts as an error or a rate-limit hit."""

    route: str
    duration_ms: float
    error: bool
    limited: bool


class Event(NamedTuple):
    """One kind of event. `always` events are written whatever `LOG_LEVEL` says, because figures are made of them."""

    name: str
    level: Level
    meaning: str
    fields: Mapping[str, Field] = {}
    always: bool = False
    observe: "Observe | None" = None


Observed = tuple[str, float, bool, bool]
"""An `Observation`, for whoever is in a hurry as a plain tuple, which takes a third of the time."""

Observe = Callable[[Mapping[str, Any]], Observed | None]


class Plan(NamedTuple):
    """An event as `log` uses it: names it may pass as they are, and names to search for secrets."""

    known: frozenset[str]
    free: tuple[str, ...]
    always: bool
    observe: Observe | None
    level: Level


EVENTS: dict[str, Event] = {}
PLANS: dict[str, Plan] = {}


def declare(events: Iterable[Event]) -> None:
    """Add `events` to the vocabulary. Raises ``ValueError`` when a name is declared twice with another meaning."""
    for event in events:
        if EVENTS.setdefault(event.name, event) != event:
            raise ValueError(f"the event {event.name!r} is declared twice")
        if reserved := RESERVED & event.fields.keys():
            raise ValueError(f"the event {event.name!r} may not have fields called {sorted(reserved)}")
        free = tuple(name for name, field in event.fields.items() if field.free)
        PLANS[event.name] = Plan(frozenset(event.fields), free, event.always, event.observe, event.level)
