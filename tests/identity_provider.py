"""An identity provider on this machine: OpenID Connect at its root, and what of GitHub's a sign-in touches.

    def test_somebody_signs_in(identity_provider: IdentityProvider) -> None: ...

It is strict where a good one is (client, PKCE, redirect URI, each code once), and can be told to misbehave: `forge` makes its ID tokens,
`broken` answers at an address in its stead. It runs in a thread of its own, so that a server that is another process can ask it.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
from aiohttp import web
from joserfc import jws
from joserfc.jwk import Key, KeySet, RSAKey

from tests.waiting import ENOUGH_SECONDS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Claims = dict[str, Any]


@dataclass
class Given:
    """What belongs to a code that was given out."""

    redirect_uri: str
    challenge: str
    nonce: str
    spent: bool = False


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    form: dict[str, str] = field(default_factory=dict)


def rsa(kid: str) -> Key:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


def signed(claims: Claims, key: Key, algorithm: str = "RS256", **header: Any) -> str:
    """The claims as `key` signs them, whatever they are."""
    whole = {"alg": algorithm, "kid": key.kid} | header
    return jws.serialize_compact(whole, json.dumps(claims), key, algorithms=[algorithm])


_KEYS = [rsa("first"), rsa("second")]
"""Made once: it takes a while."""


class IdentityProvider:
    client_id = "chatkit"
    client_secret = "s3cret/with:odd+chars &%"

    def __init__(self) -> None:
        self.url = ""
        self.reset()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def reset(self) -> None:
        """Well-behaved again, with everything as at the beginning."""
        self.keys: list[Key] = [_KEYS[0]]
        self.person: Claims = {"sub": "248289761001", "email": "ada@example.com", "email_verified": True}
        self.in_userinfo: Claims = {}
        self.user: Any = {"id": 583231, "login": "ada"}
        self.emails: Any = [
            {"email": "old@example.com", "primary": False, "verified": True},
            {"email": "ada@example.com", "primary": True, "verified": True},
        ]
        self.metadata: dict[str, Any] = {}
        self.answer_with: dict[str, str] = {}
        self.forge: Callable[[Claims, str], str] = self.signed
        self.broken: dict[str, Handler] = {}
        self.given: dict[str, Given] = {}
        self.asked: list[Asked] = []

    def rotate(self) -> None:
        """Sign with another key from now on, and publish only that."""
        self.keys = [_KEYS[1] if self.keys[0] is _KEYS[0] else _KEYS[0]]

    def signed(self, claims: Claims, _access_token: str = "") -> str:
        """An ID token as it should be."""
        key = self.keys[0]
        return signed(claims, key)

    def times_asked(self, path: str) -> int:
        return sum(1 for asked in self.asked if asked.path == path)

    def start(self) -> "IdentityProvider":
        self._thread.start()
        assert self._ready.wait(ENOUGH_SECONDS)
        return self

    def stop(self) -> None:
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(middlewares=[self._watched])
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/keys", self._published)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/userinfo", self._userinfo)
        app.router.add_get("/login/oauth/authorize", self._authorize)
        app.router.add_post("/login/oauth/access_token", self._github_token)
        app.router.add_get("/api/v3/user", self._github_user)
        app.router.add_get("/api/v3/user/emails", self._github_emails)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._over.wait()
        await runner.cleanup()

    @web.middleware
    async def _watched(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(Asked(request.path, dict(request.headers), form))
        response = await self.broken.get(request.path, handler)(request)
        if not response.prepared:
            response.headers["X-Request-ID"] = "theirs-1"
        return response

    async def _configuration(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
            }
            | self.metadata
        )

    async def _published(self, _: web.Request) -> web.Response:
        return web.json_response(KeySet(self.keys).as_dict())

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = request.query
        if asked["client_id"] != self.client_id or asked.get("response_type", "code") != "code":
            return web.Response(status=400)
        if asked["code_challenge_method"] != "S256":
            return web.Response(status=400)
        code = secrets.token_urlsafe(24)
        self.given[code] = Given(asked["redirect_uri"], asked["code_challenge"], asked.get("nonce", ""))
        answer = {"code": code, "state": asked["state"]} | self.answer_with
        there = f"{asked['redirect_uri']}?{urlencode(answer)}"
        return web.Response(status=302, headers={"Location": there})

    def _exchanged(self, request: web.Request) -> Given | str:
        """What belongs to the code that was shown, or the error."""
        form = self.asked[-1].form
        shown = form.get("client_id"), form.get("client_secret")
        if "Authorization" in request.headers:
            pair = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
            name, _, secret = pair.partition(":")
            shown = unquote_plus(name), unquote_plus(secret)
        if shown != (self.client_id, self.client_secret):
            return "invalid_client"
        given = self.given.get(form.get("code", ""))
        verifier = form.get("code_verifier", "")
        hashed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if given is None or given.spent or not 43 <= len(verifier) <= 128:
            return "invalid_grant"
        if hashed != given.challenge or form.get("redirect_uri") != given.redirect_uri:
            return "invalid_grant"
        given.spent = True
        return given

    async def _token(self, request: web.Request) -> web.Response:
        given = self._exchanged(request)
        if isinstance(given, str):
            return web.json_response({"error": given, "error_description": "no"}, status=400)
        if self.asked[-1].form.get("grant_type") != "authorization_code":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        access_token = secrets.token_urlsafe(16)
        now = int(time.time())
        claims = {"iss": self.url, "aud": self.client_id, "iat": now, "exp": now + 300, "nonce": given.nonce}
        token = self.forge(claims | self.person, access_token)
        return web.json_response(
            {"access_token": access_token, "token_type": "Bearer", "expires_in": 300, "id_token": token}
        )

    async def _userinfo(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"].startswith("Bearer ")
        return web.json_response({"sub": self.person["sub"]} | self.in_userinfo)

    async def _github_token(self, request: web.Request) -> web.Response:
        given = self._exchanged(request)
        if isinstance(given, str):
            error = {
                "invalid_grant": "bad_verification_code",
                "invalid_client": "incorrect_client_credentials",
            }
            return web.json_response({"error": error[given]})
        return web.json_response(
            {"access_token": "gho_made-up", "token_type": "bearer", "scope": "user:email"}
        )

    async def _github_user(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer gho_made-up"
        return web.json_response(self.user)

    async def _github_emails(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer gho_made-up"
        return web.json_response(self.emails)


@pytest.fixture(scope="session")
def _one_identity_provider() -> Iterator[IdentityProvider]:
    provider = IdentityProvider().start()
    yield provider
    provider.stop()


@pytest.fixture
def identity_provider(_one_identity_provider: IdentityProvider) -> IdentityProvider:
    """One that is new to every test."""
    _one_identity_provider.reset()
    return _one_identity_provider
