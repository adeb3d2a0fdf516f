"""An answer that goes out whole: JSON, known to its last byte before its first is sent.

aiohttp prepares every response as if it were a stream: five coroutines, a signal, a write of the headers and one of the end. An
answer that is whole needs none of that: head and body are one write, in half the time. Whatever is not the usual case
(an older HTTP, a connection that is to close, `HEAD`) goes aiohttp's way.
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

from .headers import DEFAULTS, stamp
from .request import exchange

_JSON = CIMultiDict({hdrs.CONTENT_TYPE: "application/json; charset=utf-8", **DEFAULTS})
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> "Answer":
    """`body` (anything orjson encodes, or pydantic models) as an answer."""
    return Answer(orjson.dumps(body, default=_plain), status, headers)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError


class Answer(web.StreamResponse):
    """A JSON body with a status other than 204 and 304, and `headers` beside the usual ones."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status=status, headers=_JSON)
        self._whole = body
        self._sent = self._bodiless = False
        if headers:
            self.headers.update(headers)

    @property
    def prepared(self) -> bool:
        """Whether its head is sent."""
        return self._sent or super().prepared

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open."""
        return self._sent or super().keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it, and in the unusual case only its head."""
        if self._sent:
            return None
        served = exchange()
        if served is None or not self._is_usual(request):
            self.content_length = len(self._whole)
            self._bodiless = request.method == hdrs.METH_HEAD
            return await super().prepare(request)
        headers = self.headers
        headers[hdrs.CONTENT_LENGTH] = str(len(self._whole))
        headers[hdrs.DATE] = _date(int(time.time()))
        stamp(headers, served)
        writer = request.writer
        await writer.write_headers(_STATUS_LINES[self.status], headers)
        served.started = self
        self._sent = True
        await writer.write_eof(self._whole)
        return None

    def _is_usual(self, request: web.BaseRequest) -> bool:
        return (
            request.version == HttpVersion11
            and request.keep_alive
            and super().keep_alive is None
            and request.method != hdrs.METH_HEAD
        )

    async def write_eof(self, data: bytes = b"") -> None:
        """Send what is not sent."""
        if not self._sent:
            await super().write_eof(data if self._bodiless else self._whole)


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    """The `Date` of an answer (RFC 9110, section 5.6.7), made once a second."""
    return formatdate(second, usegmt=True)
