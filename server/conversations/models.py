"""What goes over the wire about conversations."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from server.chat.models import EXCERPT_LIMIT, Source
from server.chat.words import printable
from server.models import ID_FORM, Body, Integer, Reply

TITLE_LIMIT = 80
PAGE_LIMIT = 100


def _title(text: str) -> str:
    shown = " ".join(printable(text).split())
    if not shown:
        raise ValueError("The title holds nothing but white space")
    return shown


Title = Annotated[
    str, StringConstraints(min_length=1, max_length=TITLE_LIMIT, pattern=r"\S"), AfterValidator(_title)
]

_ID = Field(
    pattern=ID_FORM, description="As an answer gave it.", examples=["3f0c8f0e8a3f4f6e9a550d3c5c8a1f11"]
)


class SaveRequest(Body):
    """Which conversation is kept for good."""

    conversation_id: str = _ID
    title: Title | None = Field(None, description="What it is called from now on.", examples=["Tracing"])


class RenameRequest(Body):
    """What a conversation is called from now on."""

    title: Title = Field(description="On one line.", examples=["Tracing"])


class ListQuery(Body):
    """Which part of the list."""

    limit: int = Field(20, ge=1, le=PAGE_LIMIT, strict=False, description="How many at most.", examples=[20])
    behind: str | None = Field(
        None,
        pattern=ID_FORM,
        description="The last conversation that is known: only those behind it are told.",
        examples=["3f0c8f0e8a3f4f6e9a550d3c5c8a1f11"],
    )


class ExportQuery(Body):
    """In which form."""

    format: Literal["json", "markdown"] = Field("json", description="A file for programs, or for people.")


class ConversationReply(Reply):
    """A conversation, by itself."""

    id: str = _ID
    title: str = Field(description="The first question's beginning, or what its owner calls it.")
    created_at: str = Field(description="ISO 8601, UTC.", examples=["2026-01-01T12:34:56.789Z"])
    updated_at: str = Field(
        description="When its last question was asked; ISO 8601, UTC.", examples=["2026-01-01T12:34:56.789Z"]
    )
    saved: bool = Field(description="Whether it is kept for good.")


class ConversationList(Reply):
    """Conversations, the one that went on last first."""

    conversations: list[ConversationReply]
    more: bool = Field(description="Whether there are others behind them: ask with `behind`.")


class TurnReply(Reply):
    """A question and its answer."""

    message_id: str = Field(description="The question's.", examples=["0b9d2b0c-2b8e-4f57-9b1e-7f5e2b8f9a10"])
    question: str
    answer: str = Field(description="What is known of it.")
    request_id: str | None = Field(
        description="Of the request that asked: its Reference ID, by which the log tells what happened.",
        examples=["7d3f2b1c-8a4e-4c55-9d0e-2f6f1b9a3c10"],
    )
    degraded: bool = Field(
        description="Whether passages were told because the language model did not answer."
    )
    state: Literal["running", "done", "cut_off"] = Field(
        description="`running`: follow it at `GET /api/v1/chat/{message_id}/events`. `cut_off`: it is not whole, and will not be."
    )
    sources: list[Source]
    asked_at: str = Field(description="ISO 8601, UTC.", examples=["2026-01-01T12:34:56.789Z"])


class WholeConversation(ConversationReply):
    """A conversation with its turns, in the order asked."""

    turns: list[TurnReply]


class PersonalizeRequest(Body):
    """How much is recommended."""

    limit: Integer = Field(5, ge=1, le=10, description="How many pages at most.", examples=[5])


class Recommendation(Reply):
    """A page that bears on what the visitor asked, and that no answer has shown yet."""

    title: str = Field(description="The document's title and the headings above the passage.")
    url: str = Field(
        description="Where to read it: relative to the site or absolute; empty when there is no address."
    )
    excerpt: str = Field(max_length=EXCERPT_LIMIT, description="The beginning of the passage, as plain text.")
    score: float = Field(
        ge=0, le=1, description="How much of the visitor's questions it bears on, the last ones most."
    )
    because: str = Field(description="The question that it bears on most.")


class Recommendations(Reply):
    """The best first; empty when nothing was asked, or the documents hold no more."""

    recommendations: list[Recommendation]
