"""An answer that goes out whole: JSON, known to its last byte before its first is sent.

aiohttp prepares every response as if it were a stream: a dozen coroutines, a signal, and headers that are merged, checked and put into
bytes one by one. An answer that is whole needs none of that: nearly all of its head is always the same, and goes out with the body in one
write. Whatever is not the usual case (headers of its own, an older HTTP, a connection that is to close, `HEAD`) goes aiohttp's way.
"""

import functools
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

import orjson
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from pydantic import BaseModel

from .headers import DEFAULTS, REQUEST_ID, stamp
from .request import Exchange, exchange

_USUAL = CIMultiDict({hdrs.CONTENT_TYPE: "application/json; charset=utf-8", **DEFAULTS})
_LINES = "".join(f"{name}: {value}\r\n" for name, value in _USUAL.items())
_HEADS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n{_LINES}" for status in HTTPStatus}


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> "Answer":
    """`body` (anything orjson encodes, or pydantic models) as an answer."""
    return Answer(orjson.dumps(body, default=_plain), status, headers)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError


class Answer(web.StreamResponse):
    """A JSON body, with a status other than 204 and 304; `headers` are those beside the usual ones."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status=status, headers=headers)
        self._whole = body
        self._sent = self._closing = self._bodiless = False

    @property
    def prepared(self) -> bool:
        """Whether its head is sent."""
        return self._sent or super().prepared

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open."""
        return self._sent or super().keep_alive

    def force_close(self) -> None:
        """Have the connection closed after it."""
        self._closing = True
        super().force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it, and in the unusual case only its head."""
        if self._sent:
            return None
        served = exchange()
        if (
            served is None
            or self.headers
            or self._closing
            or not request.keep_alive
            or request.version != HttpVersion11
            or request.method == hdrs.METH_HEAD
        ):
            return await self._prepare(request, served)
        more = served.headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in more.items()) if more else ""
        head = (
            f"{_HEADS[self.status]}Content-Length: {len(self._whole)}\r\nDate: {_date(int(time.time()))}\r\n"
            f"{REQUEST_ID}: {served.request_id}\r\n{lines}\r\n"
        )
        served.started = self
        self._sent = True
        await request.writer.write_eof(head.encode() + self._whole)
        return None

    async def _prepare(
        self, request: web.BaseRequest, served: Exchange | None
    ) -> AbstractStreamWriter | None:
        """As aiohttp does."""
        for name, value in _USUAL.items():
            self.headers.setdefault(name, value)
        if served is not None:
            stamp(self.headers, served)
        self.content_length = len(self._whole)
        self._bodiless = request.method == hdrs.METH_HEAD
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send what is not sent."""
        if not self._sent:
            await super().write_eof(data if self._bodiless else self._whole)


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    """The `Date` of an answer (RFC 9110, section 5.6.7), made once a second."""
    return formatdate(second, usegmt=True)
