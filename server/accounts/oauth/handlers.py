"""Signing in with an identity provider over HTTP.

The callback is the one address of the API that a browser opens as a page. It redirects, and shows a page of its own, without a script, only
when it does not know where to.
"""

import html

from aiohttp import web
from yarl import URL

from server.accounts.handlers import session_reply
from server.answers import json_response
from server.bodies import read_body, read_query
from server.clock import SECOND
from server.errors import ChatKitError
from server.request import account_holder, exchange

from .flow import BEGUN_MS, ProviderSignIn, Returned
from .models import CallbackQuery, FinishRequest, ProviderName, Providers, Started, StartRequest

PROVIDER_SIGN_IN = web.AppKey("provider_sign_in", ProviderSignIn)

# What stands behind the address, the code above all, is told to no other site.
_LEAVING = {"Referrer-Policy": "no-referrer"}


async def providers(request: web.Request) -> web.StreamResponse:
    """With which providers one can sign in here; an empty list when there is none."""
    known = request.app[PROVIDER_SIGN_IN].providers.values()
    named = [ProviderName(id=found.client.id, name=found.client.name) for found in known]
    return json_response(Providers(providers=named))


async def start(request: web.Request) -> web.StreamResponse:
    """Begin; 200 with where to send the browser, and the secret that it keeps."""
    body = await read_body(request, StartRequest)
    begun = await request.app[PROVIDER_SIGN_IN].begin(
        request.match_info["provider"],
        consent=body.consent,
        page_url=body.page_url,
        account=account_holder() if body.link else None,
    )
    return json_response(
        Started(authorization_url=begun.authorization_url, flow=begun.flow, expires_in=BEGUN_MS // SECOND)
    )


async def callback(request: web.Request) -> web.StreamResponse:
    """Where a provider sends the browser back to; 303 to the page that began, with `#chatkit-oauth=…` or `#chatkit-sign-in-error=…`."""
    try:
        query = read_query(request, CallbackQuery)
        returned = Returned(query.state, query.code, query.error, query.iss)
        page = await request.app[PROVIDER_SIGN_IN].come_back(request.match_info["provider"], returned)
    except ChatKitError as error:
        return _explained(error)
    return web.Response(status=303, headers={"Location": str(URL(page)), **_LEAVING})


async def finish(request: web.Request) -> web.StreamResponse:
    """Spend the token with which the browser came back; 200 with a session, to which an anonymous visitor's conversations move."""
    body = await read_body(request, FinishRequest)
    served = exchange()
    assert served is not None, "access comes first"
    # A session that has ended is no reason not to sign in.
    return json_response(
        session_reply(await request.app[PROVIDER_SIGN_IN].finish(body.token, body.flow, served.visitor))
    )


def _explained(error: ChatKitError) -> web.Response:
    """A page for people, for whom JSON would be none."""
    served = exchange()
    reference = "" if served is None else html.escape(served.request_id)
    text = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        "<title>Signing in did not work</title>\n<h1>Signing in did not work</h1>\n"
        f"<p>{_SAID.get(error.status, _SAID[400])} Please go back to the page where you began, and begin again.</p>\n"
        f"<p>Reference: <code>{reference}</code></p>\n</html>\n"
    )
    headers = {**error.headers, **_LEAVING}
    return web.Response(status=error.status, text=text, content_type="text/html", headers=headers)


_SAID = {
    400: "What came back from there cannot be understood.",
    404: "This sign-in is not known, or it was too long ago.",
    503: "This is not possible right now.",
}
