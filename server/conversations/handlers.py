"""Conversations over HTTP. An anonymous visitor has those of its session; to keep one for good takes an account."""

import orjson
from aiohttp import hdrs, web

from server.answers import json_response
from server.bodies import read_body, read_query
from server.chat.models import Source
from server.clock import told
from server.errors import NotFound
from server.request import account_holder, somebody
from server.store.conversations import Conversation
from server.store.turns import Turn

from .export import markdown
from .models import (
    ConversationList,
    ConversationReply,
    ExportQuery,
    ListQuery,
    PersonalizeRequest,
    Recommendations,
    RenameRequest,
    SaveRequest,
    TurnReply,
    WholeConversation,
)
from .service import Conversations

CONVERSATIONS = web.AppKey("conversations", Conversations)


async def save(request: web.Request) -> web.StreamResponse:
    """Keep a conversation for good."""
    who = account_holder()
    body = await read_body(request, SaveRequest)
    saved, _ = await request.app[CONVERSATIONS].save(who, body.conversation_id, body.title)
    return json_response(_reply(saved))


async def listed(request: web.Request) -> web.StreamResponse:
    """The visitor's conversations, the one that went on last first."""
    query = read_query(request, ListQuery)
    page = await request.app[CONVERSATIONS].page(somebody(), query.limit, query.behind)
    return json_response(
        ConversationList(conversations=[_reply(found) for found in page.conversations], more=page.more)
    )


async def read(request: web.Request) -> web.StreamResponse:
    """A conversation with its questions and answers."""
    found = await request.app[CONVERSATIONS].read(somebody(), _id(request))
    return json_response(_whole(*found))


async def rename(request: web.Request) -> web.StreamResponse:
    """Give a conversation another title."""
    body = await read_body(request, RenameRequest)
    return json_response(
        _reply(await request.app[CONVERSATIONS].rename(somebody(), _id(request), body.title))
    )


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a conversation with its questions and answers; 204 when it is gone."""
    await request.app[CONVERSATIONS].delete(somebody(), _id(request))
    return web.Response(status=204)


async def export(request: web.Request) -> web.StreamResponse:
    """A conversation as a file: JSON for programs, Markdown for people."""
    form = read_query(request, ExportQuery).format
    whole = _whole(*await request.app[CONVERSATIONS].take_along(somebody(), _id(request), form))
    name, kind, body = f"{whole.id}.json", "application/json", orjson.dumps(whole.model_dump(mode="json"))
    if form == "markdown":
        name, kind, body = f"{whole.id}.md", "text/markdown", markdown(whole).encode()
    headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="conversation-{name}"'}
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)


async def personalize(request: web.Request) -> web.StreamResponse:
    """Pages that bear on what the visitor has asked so far, and that no answer has shown."""
    who = somebody()
    body = await read_body(request, PersonalizeRequest)
    return json_response(
        Recommendations(recommendations=await request.app[CONVERSATIONS].recommend(who, body.limit))
    )


def _id(request: web.Request) -> str:
    """The conversation in the address. Raises ``NotFound`` for what cannot be one."""
    given = request.match_info["conversation_id"]
    if len(given) != 32 or not given.isascii() or not given.isalnum():
        raise NotFound("There is no such conversation.")
    return given


def _reply(found: Conversation) -> ConversationReply:
    return ConversationReply(
        id=found.id,
        title=found.title,
        created_at=told(found.created_at),
        updated_at=told(found.updated_at),
        saved=found.saved_at is not None,
    )


def _whole(found: Conversation, turns: list[Turn]) -> WholeConversation:
    return WholeConversation(**_reply(found).model_dump(), turns=[_turn(turn) for turn in turns])


def _turn(turn: Turn) -> TurnReply:
    sources = [] if turn.sources is None else orjson.loads(turn.sources)
    return TurnReply.model_validate(
        {
            "message_id": turn.message_id,
            "question": turn.question,
            "answer": turn.answer,
            "request_id": turn.request_id,
            "degraded": turn.metadata is not None and orjson.loads(turn.metadata)["degraded"],
            "state": turn.state,
            "sources": [Source.model_validate(source) for source in sources],
            "asked_at": told(turn.created_at),
        }
    )
