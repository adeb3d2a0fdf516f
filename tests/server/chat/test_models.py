"""The wire: what is taken, what is refused, and how that is told."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from server.chat.models import STREAM_EVENTS, Answer, Mode, Question, stream_schema


def _problem(body: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as refused:
        Question.model_validate(body)
    error = refused.value.errors(include_url=False)[0]
    return ".".join(map(str, error["loc"])), error["type"]


@pytest.mark.parametrize(
    "body",
    [
        {"message": "x"},
        {"message": "é" * 2_000},
        {"message": "🎉" * 2_000},
        {"message": "a\x00b"},
        {"message": "x", "context": None},
        {"message": "x", "context": {}},
        {
            "message": "x",
            "context": {"mode": "browse", "selected_text": None, "page_url": None, "session_id": None},
        },
        {
            "message": "x",
            "context": {"selected_text": "y" * 5_000, "page_url": "https://example.com/a?b=c#d"},
        },
        {"message": "x", "context": {"session_id": "5f0c8f0e-8a3f-4f6e-9a55-0d3c5c8a1f11"}},
    ],
)
def test_what_is_within_the_limits_is_taken(body: dict[str, Any]) -> None:
    Question.model_validate(body)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, ("message", "missing")),
        ([], ("", "model_type")),
        ({"message": ""}, ("message", "string_too_short")),
        ({"message": " \n\t\u3000"}, ("message", "value_error")),
        ({"message": "x" * 2_001}, ("message", "string_too_long")),
        ({"message": 1}, ("message", "string_type")),
        ({"message": None}, ("message", "string_type")),
        ({"message": "x", "mesage": "x"}, ("mesage", "extra_forbidden")),
        ({"message": "x", "context": []}, ("context", "model_type")),
        ({"message": "x", "context": {"mode": "shout"}}, ("context.mode", "enum")),
        ({"message": "x", "context": {"mode": None}}, ("context.mode", "enum")),
        (
            {"message": "x", "context": {"selected_text": "y" * 5_001}},
            ("context.selected_text", "string_too_long"),
        ),
        (
            {"message": "x", "context": {"page_url": "javascript:alert(1)"}},
            ("context.page_url", "string_pattern_mismatch"),
        ),
        (
            {"message": "x", "context": {"page_url": "https://x/" + "y" * 2_048}},
            ("context.page_url", "string_too_long"),
        ),
        (
            {"message": "x", "context": {"session_id": "a b"}},
            ("context.session_id", "string_pattern_mismatch"),
        ),
        (
            {"message": "x", "context": {"session_id": "a\n"}},
            ("context.session_id", "string_pattern_mismatch"),
        ),
        ({"message": "x", "context": {"session_id": "y" * 129}}, ("context.session_id", "string_too_long")),
        ({"message": "x", "context": {"tier": 3}}, ("context.tier", "extra_forbidden")),
    ],
)
def test_what_is_not_is_refused_by_the_name_of_the_field(body: Any, problem: tuple[str, str]) -> None:
    assert _problem(body) == problem


def test_a_question_without_context_has_the_defaults() -> None:
    question = Question(message="x")
    assert (question.mode, question.selected_text, question.page_url) == (Mode.CHAT, "", "")


def test_every_field_is_described_and_has_an_example() -> None:
    models: list[type[BaseModel]] = [Question, Answer, *STREAM_EVENTS.values()]
    for model in models:
        schema = model.model_json_schema()
        for part in [schema, *schema.get("$defs", {}).values()]:
            for name, field in part.get("properties", {}).items():
                if "$ref" not in field:
                    assert field.get("description"), (part["title"], name)


def test_the_events_of_a_stream_have_schemas() -> None:
    assert list(stream_schema()) == ["sources", "token", "done", "error"]
