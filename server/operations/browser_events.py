"""What the widget tells of itself: a few events by name, small, from anybody who may embed it.

They come from outside, so nothing in them is believed: names are from a list, values are short, and whatever they hold is searched for
secrets like any free text. `source` says which events of the log came this way.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import Field as Described
from pydantic import StringConstraints

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.answers import json_response
from server.bodies import read_body
from server.models import Body, PageUrl, Reply

PROPERTIES = 10
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Value = Annotated[str, StringConstraints(max_length=200)] | bool | int | float

declare(
    [
        Event(
            "analytics_event",
            "INFO",
            "Something happened in a visitor's browser, as the widget tells it.",
            {
                "name": Field("what happened"),
                "source": Field("`browser`: nothing of it is known but that somebody sent it"),
                "page": Field("the page, without its query", free=True),
                "properties": Field("what the widget adds", free=True),
            },
        )
    ]
)


class BrowserEvent(Body):
    """Something that happened in the widget."""

    name: Literal[
        "widget_loaded",
        "widget_opened",
        "widget_closed",
        "question_asked",
        "answer_shown",
        "answer_copied",
        "answer_rated",
        "source_opened",
        "recommendation_opened",
        "error_shown",
        "reference_copied",
        "sign_in_started",
        "sign_in_finished",
    ] = Described(description="What happened.", examples=["widget_opened"])
    page_url: PageUrl | None = Described(
        None,
        description="The page it happened on; its query is not kept.",
        examples=["https://www.example.com/help"],
    )
    properties: dict[Name, Value] = Described(
        {},
        max_length=PROPERTIES,
        json_schema_extra={"additionalProperties": False},
        description=f"At most {PROPERTIES} more facts: short texts, numbers, true or false.",
        examples=[{"position": 2}],
    )


class Accepted(Reply):
    """It stands in the log."""

    accepted: Literal[True] = True


async def analytics(request: web.Request) -> web.StreamResponse:
    """Record an event of the widget's; anybody may, signed in or not."""
    event = await read_body(request, BrowserEvent)
    page = None if event.page_url is None else urlsplit(event.page_url)
    log.info(
        "analytics_event",
        name=event.name,
        source="browser",
        page=None if page is None else f"{page.scheme}://{page.netloc}{page.path}",
        properties=event.properties,
    )
    return json_response(Accepted(), status=202)
