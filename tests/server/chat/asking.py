"""A question, asked without HTTP and without keeping anything."""

from typing import NamedTuple

from server.chat.answer import Cited, Text
from server.chat.models import Metadata, Question, Source
from server.chat.service import Chat, Finished


class Told(NamedTuple):
    """A whole answer."""

    answer: str
    sources: list[Source]
    metadata: Metadata


async def asked(chat: Chat, question: Question) -> Told:
    sources: list[Source] = []
    text: list[str] = []
    async for piece in chat.stream(question):
        match piece:
            case Cited():
                sources = list(piece.sources)
            case Text():
                text.append(piece.text)
            case Finished():
                return Told("".join(text), sources, piece.metadata)
    raise AssertionError("the answer did not end")
