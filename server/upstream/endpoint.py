"""Where a model is asked: one request, which becomes a response whose body is about to come, or a failure.

The key goes into one header and nowhere else. Redirects are not followed: they could take the key along. Nothing is tried twice here,
and aiohttp repeats no POST of its own accord. aiohttp's client is imported when the first question comes.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import orjson

from pipeline.context import current

from .completions import error_code
from .failures import LLMBadResponse, LLMTimeout, LLMUnavailable
from .patience import Call
from .retries import retry_after

if TYPE_CHECKING:
    import aiohttp

NOT_NOW = frozenset({429, 502, 503, 504})
"""Statuses after which the same call may go well."""
OUR_FAULT = frozenset({400, 413, 422})
"""Statuses that are about what was asked, not about the upstream."""

ERROR_BYTES = 16 << 10
"""How much of a refusal is read."""
IDLE_SECONDS = 4.0
"""How long an unused connection is kept: less than the five seconds after which uvicorn closes one, or a call could meet a closing door."""

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Model:
    """Where a model is, what it is called there, and what opens the door; `max_tokens` bounds an answer, 0 does not."""

    base_url: str
    name: str
    api_key: str = field(default="", repr=False)
    max_tokens: int = 0


class Operation(NamedTuple):
    """What is asked of a model: below its base, which type of content the answer has, and the log's word for any other."""

    path: str
    content_type: str
    otherwise: str


CHAT_COMPLETIONS = Operation("/chat/completions", "text/event-stream", "NOT_A_STREAM")
EMBEDDINGS = Operation("/embeddings", "application/json", "NOT_JSON")


class Endpoint:
    """The connections to one model's endpoint; to be used in one event loop, and closed there."""

    def __init__(self, model: Model, operation: Operation, connect_seconds: float) -> None:
        self._url = f"{model.base_url}{operation.path}"
        self._operation = operation
        self._key = model.api_key
        self._connect_seconds = connect_seconds
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let every connection go."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, call: Call, body: bytes) -> "aiohttp.ClientResponse":
        """A response with status 200 whose content is of the operation's type. Raises ``LLMFailure``."""
        import aiohttp

        try:
            response = await self._connections().post(
                self._url, data=body, headers=self._headers(), allow_redirects=False
            )
        except aiohttp.ConnectionTimeoutError:
            raise LLMTimeout("CONNECT_TIMEOUT", again=True) from None
        except aiohttp.ClientSSLError:
            raise LLMUnavailable("TLS_FAILED") from None
        except aiohttp.ClientConnectorError:
            raise LLMUnavailable("CONNECT_FAILED", again=True) from None
        except aiohttp.ClientConnectionError:  # It may have begun to work on it.
            raise LLMUnavailable("DISCONNECTED") from None
        except aiohttp.ClientError:
            raise LLMBadResponse("NOT_HTTP") from None
        told = response.headers.get("X-Request-ID", "")
        call.upstream_request_id = told if _ID.fullmatch(told) else None
        try:
            await _check(response, self._operation)
        except BaseException:
            response.close()
            raise
        return response

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": self._operation.content_type,
            # A compressed stream would come in lumps.
            "Accept-Encoding": "identity",
        }
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if (request := current()) is not None:
            headers["X-Request-ID"] = request.request_id
        return headers

    def _connections(self) -> "aiohttp.ClientSession":
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                # Whoever waited for a free connection would take that for the upstream's fault.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _check(response: "aiohttp.ClientResponse", operation: Operation) -> None:
    """Raise for a response that is not what the operation answers with."""
    status = response.status
    if status == 200:
        if response.content_type != operation.content_type:
            raise LLMBadResponse(operation.otherwise)
        return
    if 300 <= status < 400:
        raise LLMBadResponse("REDIRECT")
    later = response.headers.get("Retry-After")
    raise LLMUnavailable(
        f"HTTP_{status}",
        code=await _told_code(response),
        again=status in NOT_NOW,
        retry_after=None if later is None else retry_after(later),
        ours=status in OUR_FAULT,
    )


async def _told_code(response: "aiohttp.ClientResponse") -> str | None:
    """The error's code in the body of a refusal; the body itself goes nowhere."""
    import aiohttp

    body = b""
    with suppress(aiohttp.ClientError, orjson.JSONDecodeError):
        while len(body) < ERROR_BYTES and (more := await response.content.readany()):
            body += more
        return error_code(orjson.loads(body))
    return None
