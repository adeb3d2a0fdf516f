"""Whose session a request shows, found out once, before anything is limited or answered.

A session that does not hold refuses nothing here: what needs one says so, and what is only asked how it stands can tell.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from pipeline.context import note
from server.accounts.visitor import Visitor
from server.errors import Unauthorized
from server.request import Exchange, Step, shown_token

_API = "/api/"

Find = Callable[[str], Awaitable[Visitor]]
"""Whose a token is; raises ``Unauthorized`` when it is nobody's."""


def session(find: Find) -> Step:
    """Know the visitor by the token that is shown."""

    async def known(token: str, served: Exchange) -> None:
        try:
            who = served.visitor = await find(token)
        except Unauthorized as refusal:
            served.refusal = refusal
            note(session_refused=refusal.code)
        else:
            note(session=who.session)

    def step(request: web.Request, served: Exchange) -> Awaitable[None] | None:
        token = shown_token(request) if served.route.startswith(_API) else None
        return None if token is None else known(token, served)

    return step
