"""Requests to identity providers: few, short, bounded, and never wherever an answer points to.

A provider is somebody else's program. What it sends is read up to a limit, for a few seconds, as JSON and nothing else; a redirect is no
answer; nothing is compressed, so nothing can unfold. A call that fails or takes long leaves a `dependency_call`, with the provider's own ID
of the request where it gives one, by which its operators can find it.
"""

import asyncio
import ipaddress
import re
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson

from pipeline.context import current, measure
from pipeline.log import log
from server import VERSION
from server.errors import ServiceUnavailable

from .identity import NotVouched

T = TypeVar("T")

SECONDS = 5.0
"""How long one request may take, from the look-up of the name to the last byte."""
SLOW_MS = 2_000.0
LONGEST = 256 << 10
"""How many bytes an answer may have. The largest of Google's and Microsoft's are 20 KiB."""

_THEIR_ID = ("X-Request-ID", "X-GitHub-Request-Id", "X-MS-Request-Id", "Request-Id")
_FIT = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_CODE_REFUSED = frozenset({"invalid_grant", "bad_verification_code"})
_ERRORS = frozenset(
    {
        # RFC 6749, section 5.2
        *(
            "invalid_request",
            "invalid_client",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_scope",
        ),
        # GitHub's
        *("incorrect_client_credentials", "redirect_uri_mismatch", "unverified_user_email"),
        # RFC 6749, section 4.1.2.1
        *("server_error", "temporarily_unavailable"),
    }
)
"""Errors that are written to the log by their name. Any other text of a provider's is not."""


class ProviderUnavailable(ServiceUnavailable):
    """An identity provider does not answer, or not as one does."""

    def __init__(self) -> None:
        super().__init__(
            "Signing in there is not possible right now. Please try again in a moment, or sign in by e-mail.",
            retry_after=10,
        )


class Unfit(Exception):
    """An answer that is none; its one argument, in capitals, is what the log calls it."""


class Asked(NamedTuple):
    """One request to a provider: whose, what for, and where. `form` makes it a `POST`."""

    provider: str
    operation: str
    url: str
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None


class Upstream:
    """Asks identity providers; `plain` lets it use `http` on this machine, for development. To be closed."""

    def __init__(self, *, plain: bool = False, seconds: float = SECONDS) -> None:
        self._plain = plain
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    def may_use(self, url: str) -> bool:
        """Whether `url` is one that is encrypted, or on this machine where that is enough."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if not host or parts.username is not None or parts.fragment:
            return False
        return parts.scheme == "https" or (parts.scheme == "http" and self._plain and is_here(host))

    async def ask(self, asked: Asked, read: Callable[[Any], T]) -> T:
        """What `read` makes of the JSON that a provider answers with; it raises ``Unfit`` when it can make nothing of it.

        Raises ``ProviderUnavailable``, and ``NotVouched`` when it does not take the code that it was shown.
        """
        began = perf_counter()
        failed: str | None = None
        response: aiohttp.ClientResponse | None = None
        try:
            request = self._request(asked)
            async with asyncio.timeout(self._seconds), self._open().request(**request) as response:
                return read(_parsed(response.status, await _whole(response)))
        except Unfit as error:
            failed = str(error)
            raise ProviderUnavailable from error
        except TimeoutError as error:
            failed = "TIMEOUT"
            raise ProviderUnavailable from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failed = type(error).__name__
            raise ProviderUnavailable from error
        finally:
            duration_ms = round((perf_counter() - began) * 1e3, 3)
            measure(oauth_ms=duration_ms)
            if failed is not None or duration_ms > SLOW_MS:
                log.warning(
                    "dependency_call",
                    dependency=f"oauth:{asked.provider}",
                    operation=asked.operation,
                    duration_ms=duration_ms,
                    outcome="failed" if failed else "slow",
                    status=failed,
                    upstream_request_id=None if response is None else _their_id(response),
                )

    def _request(self, asked: Asked) -> dict[str, Any]:
        if not self.may_use(asked.url):
            raise Unfit("NOT_ENCRYPTED")
        served = current()
        mine = {} if served is None else {"X-Request-ID": served.request_id}
        return {
            "method": "GET" if asked.form is None else "POST",
            "url": asked.url,
            "data": asked.form,
            "headers": {**mine, **(asked.headers or {})},
            "allow_redirects": False,
        }

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=self._seconds),
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "User-Agent": f"ChatKit/{VERSION}",
                },
            )
        return self._session

    async def close(self) -> None:
        """Let every connection go."""
        if self._session is not None:
            await self._session.close()


def is_here(host: str) -> bool:
    """Whether `host` is this machine, by its name or its number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > LONGEST:
            response.close()  # What still comes is nobody's concern.
            raise Unfit("TOO_LARGE")
    return bytes(raw)


def _parsed(status: int, raw: bytes) -> Any:
    """The answer, if it is one."""
    if 300 <= status < 400 or status >= 500:
        raise Unfit(f"HTTP_{status}")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Unfit("NOT_JSON" if status == 200 else f"HTTP_{status}") from None
    # GitHub says so with a status of 200.
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        if error in _CODE_REFUSED:
            raise NotVouched("code_refused")
        raise Unfit(error if error in _ERRORS else f"HTTP_{status}")
    if status != 200:
        raise Unfit(f"HTTP_{status}")
    return body


def _their_id(response: aiohttp.ClientResponse) -> str | None:
    found = next((response.headers[name] for name in _THEIR_ID if name in response.headers), "")
    return found if _FIT.fullmatch(found) else None
