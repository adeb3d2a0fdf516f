"""An answer that goes out whole: JSON, known to its last byte before its first is sent.

aiohttp prepares every response as if it were a stream: a dozen coroutines, a signal, and headers that are merged, checked and put into
bytes one by one. An answer that is whole needs none of that: nearly all of its head is always the same, and goes out with the body in one
write. Whatever is not the usual case (headers of its own, an older HTTP, a connection that is to close, `HEAD`) goes aiohttp's way.
"""

import functools
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from time import time

import orjson
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from pydantic import BaseModel

from .headers import DEFAULTS, stamp
from .request import Exchange, exchange

_USUAL = CIMultiDict({hdrs.CONTENT_TYPE: "application/json; charset=utf-8", **DEFAULTS})


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> "Answer":
    """`body` (anything orjson encodes, or pydantic models) as an answer."""
    return Answer(orjson.dumps(body, _plain), status, headers)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError


class Answer(web.StreamResponse):
    """A JSON body, with a status other than 204 and 304; `headers` are those beside the usual ones.

    A response by its type alone: what is asked of one is answered here, or by one of aiohttp's that is made when it is needed, so the
    base is never set up.
    """

    status = 200
    prepared = False
    keep_alive: bool | None = True
    _closing = False
    _other: web.Response | None = None

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self._whole = body
        self._more = headers

    def force_close(self) -> None:
        """Have the connection closed after it."""
        self._closing, self.keep_alive = True, False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it, and in the unusual case only its head."""
        if self.prepared:
            return None
        served = exchange()
        self.prepared = True
        if (
            served is None
            or self._more
            or self._closing
            or not request.keep_alive
            or request.version is not HttpVersion11
            or request.method == hdrs.METH_HEAD
        ):
            return await self._prepare(request, served)
        more = served.headers
        lines = "".join([f"{name}: {value}\r\n" for name, value in more.items()]) if more else ""
        head = f"{_head(self.status, int(time()))}{served.request_id}\r\n{lines}Content-Length: {len(self._whole)}\r\n\r\n"
        served.started = self
        await request.writer.write_eof(head.encode() + self._whole)
        return None

    async def _prepare(
        self, request: web.BaseRequest, served: Exchange | None
    ) -> AbstractStreamWriter | None:
        """As aiohttp does."""
        headers = CIMultiDict({**_USUAL, **(self._more or {})})
        if served is not None:
            stamp(headers, served)
        other = self._other = web.Response(body=self._whole, status=self.status, headers=headers)
        if self._closing:
            other.force_close()
        writer = await other.prepare(request)
        self.keep_alive = other.keep_alive
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send what is not sent."""
        if self._other is not None:
            await self._other.write_eof(data)


@functools.lru_cache(maxsize=64)
def _head(status: int, second: int) -> str:
    """What the heads of all answers of one status have in common in one second, up to the ID.

    Its `Date` is that of RFC 9110, section 5.6.7.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in _USUAL.items())
    phrase = HTTPStatus(status).phrase
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}Date: {formatdate(second, usegmt=True)}\r\nX-Request-ID: "
