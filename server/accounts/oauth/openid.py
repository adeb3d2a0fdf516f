"""An OpenID provider: from a code to claims that it has signed."""

import base64
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from server.clock import SECOND, Clock
from server.store.identities import Identity

from .discovery import TENANT, Discovery, Metadata
from .id_token import Expected, KeyMissing, verified
from .identity import Attempt, NotVouched, Vouched
from .providers import Client, OpenIDClient
from .upstream import Asked, Unfit, Upstream


class OpenIDProvider:
    """The provider of `client`."""

    def __init__(self, client: OpenIDClient, upstream: Upstream, clock: Clock) -> None:
        self.client = client
        self._upstream = upstream
        self._clock = clock
        self._discovery = Discovery(client, upstream)

    async def authorization_url(self, attempt: Attempt, state: str) -> str:
        """Where to send the browser (OpenID Connect Core 1.0, section 3.1.2.1)."""
        found = await self._discovery.metadata()
        only_openid = {"response_type": "code", "nonce": attempt.nonce}
        return with_query(found.authorization, only_openid | asked_for(self.client, attempt, state))

    async def came_from(self, issuer: str | None) -> bool:
        """Whether an answer that names `issuer` can be this provider's (RFC 9207, section 2.4)."""
        found = await self._discovery.metadata()
        if issuer is None:
            return not found.names_itself
        before, tenant, behind = found.issuer.partition(TENANT)
        if not tenant:
            return issuer == found.issuer
        return issuer.startswith(before) and issuer.endswith(behind)

    async def identify(self, code: str, attempt: Attempt) -> Vouched:
        """Who it is that was given `code`."""
        found = await self._discovery.metadata()
        got, access_token = await self._upstream.ask(self._exchange(found, code, attempt), read_tokens)
        expected = Expected(
            issuer=found.issuer,
            client_id=self.client.client_id,
            algorithms=self.client.algorithms,
            nonce=attempt.nonce,
            access_token=access_token,
            now=self._clock() // SECOND,
        )
        claims = await self._verified(got.get("id_token"), expected)
        about_mail = claims if "email" in claims else await self._asked(found, access_token, claims["sub"])
        identity = Identity(self.client.id, claims["iss"], claims["sub"])
        return Vouched(identity, self.client.mailbox(about_mail))

    async def _verified(self, token: object, expected: Expected) -> dict[str, Any]:
        keys = await self._discovery.keys()
        try:
            return verified(token, keys, expected)
        except KeyMissing:
            # Providers change their keys; it may be one that we have not seen yet.
            newer = await self._discovery.keys(than=keys)
            if newer is keys:
                raise
            return verified(token, newer, expected)

    async def _asked(self, found: Metadata, access_token: str, subject: str) -> dict[str, Any]:
        """What it tells beside the ID token (OpenID Connect Core 1.0, section 5.3), if that is about the same one."""
        if found.userinfo is None:
            return {}
        bearer = {"Authorization": f"Bearer {access_token}"}
        told = await self._upstream.ask(
            Asked(self.client.id, "userinfo", found.userinfo, headers=bearer), read_object
        )
        if told.get("sub") != subject:
            raise NotVouched("userinfo_sub")
        return told

    def _exchange(self, found: Metadata, code: str, attempt: Attempt) -> Asked:
        """The request that turns the code into tokens (RFC 6749, section 4.1.3, and RFC 7636, section 4.5)."""
        client = self.client
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        if not found.basic:
            secrets = {"client_id": client.client_id, "client_secret": client.client_secret}
            return Asked(client.id, "token", found.token, form | secrets)
        # Both parts are encoded before they are joined (RFC 6749, section 2.3.1).
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
        basic = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return Asked(client.id, "token", found.token, form, basic)


def read_object(got: Any) -> dict[str, Any]:
    """An answer that is a JSON object. Raises ``Unfit``."""
    if not isinstance(got, dict):
        raise Unfit("NO_OBJECT")
    return got


def read_tokens(got: Any) -> tuple[dict[str, Any], str]:
    """An answer of a token endpoint (RFC 6749, section 5.1), and the access token in it. Raises ``Unfit``."""
    answer = read_object(got)
    token, kind = answer.get("access_token"), answer.get("token_type")
    # It becomes a header, so it may hold nothing that could end one.
    if not isinstance(token, str) or not token or not (token.isascii() and token.isprintable()):
        raise Unfit("NO_ACCESS_TOKEN")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Unfit("ANOTHER_TOKEN_TYPE")
    return answer, token


def asked_for(client: Client, attempt: Attempt, state: str) -> dict[str, str]:
    """What every authorization request says (RFC 6749, section 4.1.1, and RFC 7636, section 4.3)."""
    return {
        "client_id": client.client_id,
        "redirect_uri": attempt.redirect_uri,
        "scope": client.scope,
        "state": state,
        "code_challenge": attempt.challenge,
        "code_challenge_method": "S256",
        **({"prompt": "select_account"} if client.asks_which else {}),
    }


def with_query(url: str, parameters: dict[str, str]) -> str:
    """`url`, which may have a query of its own, with `parameters` added to it."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"
