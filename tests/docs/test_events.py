"""Code and catalogue hold together: what is emitted is declared, and what is declared is emitted."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.catalogue import EVENTS
from tests.docs.reading import ROOT
from tests.docs.reference import import_everything

SOURCES = sorted(path for package in ("pipeline", "server") for path in (ROOT / package).rglob("*.py"))
LOGS = {"log", "standard_error", "_log"}
LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "own": "WARNING"}
VARIES = {"http_request", "log_record"}
"""Events whose level depends on what they tell of; their meaning says how."""


class Call(NamedTuple):
    """One place that emits: the event's name, its level (None where it is chosen as it runs), its keyword fields."""

    place: str
    event: str
    level: str | None
    fields: set[str]


@pytest.fixture(scope="module", autouse=True)
def _declared() -> None:
    import_everything()


def calls() -> Iterator[Call]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (found := emitted(node)) is not None:
                event, level = found
                fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                yield Call(f"{path.relative_to(ROOT)}:{node.lineno}", event, level, fields)


def emitted(call: ast.Call) -> tuple[str, str | None] | None:
    """The event's name and level when `call` emits one: `log.info("name", …)`, `log.line("INFO", "name", …)`, or
    `log.record(level, "name", fields)`, whose level is chosen as it runs."""
    texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    names = [text for text in texts if isinstance(text, str)]
    match call.func:
        case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=method) if (
            owner in LOGS
        ):
            if method in {"own", "durable"} and names and names[0] in EVENTS:
                return names[0], EVENTS[names[0]].level  # it takes the declared one
            if method in LEVELS and names:
                return names[0], LEVELS[method]
            if method == "line" and len(names) == 2:
                return names[1], names[0]
            if method == "record" and names:
                return names[0], None
    return None


CALLS = list(calls())


def test_the_search_finds_the_calls() -> None:
    assert len(CALLS) > 20
    assert {"http_request", "segment_opened", "server_started", "unhandled_exception"} <= {
        call.event for call in CALLS
    }


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.place} {call.event}")
def test_what_is_emitted_is_declared_with_its_fields_and_level(call: Call) -> None:
    assert call.event in EVENTS
    assert call.fields <= set(EVENTS[call.event].fields)
    assert call.event in VARIES or call.level == EVENTS[call.event].level


def test_what_is_declared_is_emitted() -> None:
    assert set(EVENTS) == {call.event for call in CALLS}


def test_an_event_and_its_fields_are_snake_case_and_say_what_they_mean() -> None:
    for event in EVENTS.values():
        assert event.name.isidentifier()
        assert event.name.islower()
        assert event.meaning.endswith(".")
        assert all(name.islower() and field.meaning for name, field in event.fields.items())


def test_the_search_is_over_every_module() -> None:
    assert Path(ROOT / "server" / "app.py") in SOURCES
    assert Path(ROOT / "pipeline" / "writing" / "writer.py") in SOURCES
