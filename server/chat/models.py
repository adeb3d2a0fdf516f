"""What goes over the wire: the question, the answer, and the events of a stream."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from server.models import ID_FORM, Body, PageUrl, Reply

from .words import printable

MESSAGE_LIMIT = 2_000
SELECTED_TEXT_LIMIT = 5_000
SESSION_ID_LIMIT = 128
SECRET_LENGTH = 22
"""Characters of base64url that hold 128 bits; as many or more may be a secret, fewer may not."""
EXCERPT_LIMIT = 200
SOURCES_LIMIT = 5
MESSAGE_ID_FORM = r"^[A-Za-z0-9._-]{1,64}$"


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("The message holds nothing but white space")
    return text


class Mode(StrEnum):
    """How the widget is being used."""

    BROWSE = "browse"
    CHAT = "chat"


class Context(Body):
    """Where the question was asked."""

    # JSON has no enumerations: `strict` would refuse the string that names a mode.
    mode: Mode = Field(
        Mode.CHAT,
        strict=False,
        description=(
            "`browse`: asked in passing while reading a page, answered in a sentence or two. `chat`: answered at more length."
        ),
        examples=["chat"],
    )
    selected_text: str | None = Field(
        None,
        max_length=SELECTED_TEXT_LIMIT,
        description="What the visitor marked on the page. When given, the answer comes from it first, and from the documents second.",
        examples=["Every event carries the request's ID."],
    )
    page_url: PageUrl | None = Field(
        None,
        description="The page on which the question was asked: an http or https address.",
        examples=["https://example.com/help/tracing"],
    )
    session_id: str | None = Field(
        None,
        min_length=1,
        max_length=SESSION_ID_LIMIT,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="By what an anonymous visitor is known again, where no `Authorization` is sent: the token that an answer gave, or 22 or more "
        "random characters that the client makes and tells nobody. What is shorter could be guessed, and counts as none.",
        examples=["5f0c8f0e-8a3f-4f6e-9a55-0d3c5c8a1f11"],
    )


class Question(Body):
    """One question."""

    message: Annotated[str, AfterValidator(_not_blank)] = Field(
        min_length=1,
        max_length=MESSAGE_LIMIT,
        description="The question: 1 to 2,000 characters, not only white space.",
        examples=["How do I trace a request?"],
    )
    context: Context | None = Field(None, description="Where it was asked.")
    message_id: str | None = Field(
        None,
        pattern=MESSAGE_ID_FORM,
        description="What the client calls this question, unique for the visitor. Sent again, it costs no second answer: whoever asks gets the one "
        "that is being made or has been. Without one the server makes one.",
        examples=["0b9d2b0c-2b8e-4f57-9b1e-7f5e2b8f9a10"],
    )
    conversation_id: str | None = Field(
        None,
        pattern=ID_FORM,
        description="The conversation that the question goes on with, as an answer gave it. Without one it begins a new one.",
        examples=["3f0c8f0e8a3f4f6e9a550d3c5c8a1f11"],
    )

    @property
    def text(self) -> str:
        """The question, without what cannot be shown."""
        return printable(self.message).strip()

    @property
    def selected_text(self) -> str:
        """What the visitor marked, without what cannot be shown; empty when nothing was."""
        return printable((self.context and self.context.selected_text) or "").strip()

    @property
    def page_url(self) -> str:
        """The page it was asked on; empty when unknown."""
        return (self.context and self.context.page_url) or ""

    @property
    def session_id(self) -> str | None:
        """By what an anonymous visitor is known again; None where it could be guessed."""
        given = (self.context and self.context.session_id) or ""
        return given if len(given) >= SECRET_LENGTH else None

    @property
    def mode(self) -> Mode:
        """`chat` unless the context says otherwise."""
        return self.context.mode if self.context else Mode.CHAT


class Source(Reply):
    """A passage the answer rests on. The marker `[1]` in an answer means the first source."""

    id: str = Field(
        description="The same passage of the same document has the same ID; `selection` is the text the visitor marked.",
        examples=["9f2c61d07be4a85d-3"],
    )
    title: str = Field(
        description="The document's title and the headings above the passage.",
        examples=["Operations runbook \u203a High error rate"],
    )
    url: str = Field(
        description="Where to read it: relative to the site or absolute; empty when there is no address.",
        examples=["docs/OPS_RUNBOOK.md#high-error-rate"],
    )
    excerpt: str = Field(
        max_length=EXCERPT_LIMIT,
        description="The beginning of the part that bears on the question, as plain text.",
        examples=["python -m pipeline trace ID prints everything about one request, in order."],
    )
    score: float = Field(
        ge=0,
        le=1,
        description="How much of the question the passage bears on.",
        examples=[0.62],
    )


class Metadata(Reply):
    """How the answer was made."""

    model: str = Field(
        description="What wrote the answer: `extractive`, or the name of a language model.",
        examples=["extractive"],
    )
    tokens_used: int = Field(
        ge=0, description="Tokens a language model was paid for; 0 without one.", examples=[0]
    )
    degraded: bool = Field(
        False,
        description="Whether passages are told because the language model that should have written did not.",
        examples=[False],
    )
    retrieval_time_ms: float = Field(
        ge=0, description="Finding the passages, in milliseconds.", examples=[3.1]
    )
    generation_time_ms: float = Field(
        ge=0, description="Making the answer of them, in milliseconds.", examples=[0.9]
    )
    total_time_ms: float = Field(
        ge=0, description="The whole turn within the server, in milliseconds.", examples=[4.2]
    )
    cut_off: bool = Field(
        False, description="Whether the answer ends where it does because something broke.", examples=[False]
    )


class Newcomer(Reply):
    """An anonymous visitor whom the server has just met."""

    token: str = Field(
        description="Shown from now on as `Authorization: Bearer …`, or sent as `context.session_id`. It is told once; keep it.",
        examples=["cka_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"],
    )
    expires_at: str = Field(
        description="When the visitor is forgotten, ISO 8601 in UTC.", examples=["2026-02-01T12:34:56.789Z"]
    )


class Place(Reply):
    """Which question it is an answer to, and where that was asked."""

    message_id: str = Field(
        description="The question's; `GET /api/v1/chat/{message_id}/events` has its answer, now and later.",
        examples=["0b9d2b0c-2b8e-4f57-9b1e-7f5e2b8f9a10"],
    )
    conversation_id: str = Field(
        description="Sent with the next question, it goes on with this one.",
        examples=["3f0c8f0e8a3f4f6e9a550d3c5c8a1f11"],
    )
    session: Newcomer | None = Field(
        None, description="Who asked, when that was somebody without a session; else null."
    )


class _Whole(Reply):
    answer: str = Field(
        description=(
            "Light Markdown: paragraphs, `- ` lists, fenced code, and markers such as `[1]` that number the sources. "
            "It is text from documents: never to be used as HTML."
        ),
        examples=["Ask the log for the ID: `python -m pipeline trace ID`. [1]"],
    )
    sources: list[Source] = Field(
        max_length=SOURCES_LIMIT, description="In the order in which the answer rests on them."
    )
    metadata: Metadata


class Answer(Place, _Whole):
    """The answer, with what it rests on. `sources` is empty when the documents do not hold it."""


class _Found(Reply):
    request_id: str = Field(description="The request's ID.", examples=["abc123-def456"])
    sources: list[Source] = Field(
        max_length=SOURCES_LIMIT,
        description="In the order in which the answer rests on them; empty when the documents do not hold it.",
    )


class SourcesEvent(Place, _Found):
    """The stream's first event, `sources`: what the answer will rest on."""


class TokenEvent(Reply):
    """The event `token`: the next piece of the answer. The pieces, joined as they are, are the answer."""

    request_id: str = Field(description="The request's ID.", examples=["abc123-def456"])
    text: str = Field(description="The piece.", examples=["Ask the log for the ID: "])


class DoneEvent(Reply):
    """The stream's last event, `done`: the answer is whole."""

    request_id: str = Field(description="The request's ID.", examples=["abc123-def456"])
    metadata: Metadata


class ErrorEvent(Reply):
    """The stream's last event, `error`: the answer ends here. The same envelope as every error of the server."""

    error: str = Field(description="A code of the HTTP contract.", examples=["internal_error"])
    message: str = Field(
        description="For people.", examples=["An unexpected error occurred. Please try again later."]
    )
    request_id: str = Field(description="The ID to quote.", examples=["abc123-def456"])
    retry_after: int | None = Field(None, description="Seconds to wait, where that helps.", examples=[5])


STREAM_EVENTS: dict[str, type[BaseModel]] = {
    "sources": SourcesEvent,
    "token": TokenEvent,
    "done": DoneEvent,
    "error": ErrorEvent,
}
"""The name of each event of a stream, and what its `data` holds as one JSON object."""


def stream_schema() -> dict[str, Any]:
    """The JSON Schemas of the stream's events, by event name, for the API's description."""
    return {name: model.model_json_schema() for name, model in STREAM_EVENTS.items()}
