"""GitHub: OAuth 2 without OpenID, so who it is has to be asked of its API.

https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
"""

from collections.abc import Callable
from typing import Any, TypeVar

from server.store.identities import Identity

from .identity import Attempt, Vouched
from .openid import asked_for, read_object, read_tokens, with_query
from .providers import GitHubClient, Mailbox
from .upstream import Asked, Unfit, Upstream

T = TypeVar("T")


class GitHubProvider:
    """The GitHub of `client`."""

    def __init__(self, client: GitHubClient, upstream: Upstream) -> None:
        self.client = client
        self._upstream = upstream

    async def authorization_url(self, attempt: Attempt, state: str) -> str:
        """Where to send the browser."""
        return with_query(f"{self.client.site}/login/oauth/authorize", asked_for(self.client, attempt, state))

    async def came_from(self, issuer: str | None) -> bool:
        """Whether an answer that names `issuer` can be GitHub's; it does not promise to name itself."""
        return issuer is None or issuer.startswith(f"{self.client.site}/") or issuer == self.client.site

    async def identify(self, code: str, attempt: Attempt) -> Vouched:
        """Who it is that was given `code`."""
        client = self.client
        form = {
            "client_id": client.client_id,
            "client_secret": client.client_secret,
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        exchange = Asked(client.id, "token", f"{client.site}/login/oauth/access_token", form)
        _, token = await self._upstream.ask(exchange, read_tokens)
        number = await self._about(token, "user", _number)
        mailbox = await self._about(token, "user/emails?per_page=100", _primary)
        return Vouched(Identity(client.id, client.site, str(number)), mailbox)

    async def _about(self, token: str, what: str, read: Callable[[Any], T]) -> T:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
        operation = what.partition("?")[0].replace("/", "_")
        asked = Asked(self.client.id, operation, f"{self.client.api}/{what}", headers=headers)
        return await self._upstream.ask(asked, read)


def _number(user: Any) -> int:
    """By which a user is known: it stays, while the name may be changed, and then taken by another."""
    number = read_object(user).get("id")
    if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
        raise Unfit("NO_USER_ID")
    return number


def _primary(addresses: object) -> Mailbox | None:
    """The address that its owner made the first."""
    for listed in addresses if isinstance(addresses, list) else ():
        if not isinstance(listed, dict) or listed.get("primary") is not True:
            continue
        address = listed.get("email")
        if isinstance(address, str) and address:
            return Mailbox(address, verified=listed.get("verified") is True, authoritative=False)
    return None
