"""Give every request one ID, from click to log line."""

import os
import re
from collections.abc import Sequence

from aiohttp import web
from multidict import istr

from pipeline.catalogue import Event, Field, declare
from pipeline.context import bound
from pipeline.log import log
from server.headers import REQUEST_ID
from server.request import Exchange

_TRACED = istr("traceparent")
MAX_LENGTH = 64

_ALLOWED = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_TELLING = re.compile(r"[A-Za-z0-9]", re.ASCII)
# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)

_AT_ONCE = 256
_FORM = b"xxxxxxxx-xxxx-4xxx-Vxxx-xxxxxxxxxxxx "
_PLACES = [(at, at - _FORM[:at].count(b"-")) for at, char in enumerate(_FORM) if char == ord("x")]
# RFC 9562: the two highest bits of this digit are 10.
_VARIANT_AT = _FORM.index(b"V")
_VARIANT = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)

declare(
    [
        Event(
            "request_id_rejected",
            "WARNING",
            "A client sent an X-Request-ID that cannot be used; the request has a new one.",
            {
                "reason": Field("`repeated`, `empty`, `too_long`, `characters`, or `nothing_telling`"),
                "length": Field("how long it was; its value is never logged"),
            },
        )
    ]
)


def identify(request: web.Request) -> Exchange:
    """The exchange that begins with `request`: under the client's ID where it is fit to be one, under a new one where it is not."""
    headers = request.headers
    given = headers.getall(REQUEST_ID) if REQUEST_ID in headers else None
    reason = None if given is None else rejection(given)
    request_id = mint() if given is None or reason is not None else given[0]
    served = Exchange(request_id, f'"{request_id}"')
    served.method = request.method[:20]
    if _TRACED in headers and (found := trace_context(headers.getall(_TRACED))):
        served.traced(*found)
    if given is not None and reason is not None:
        with bound(served):
            log.warning("request_id_rejected", reason=reason, length=max(map(len, given)))
    return served


def rejection(given: Sequence[str]) -> str | None:
    """Why these values of the header, at least one, are not one usable ID, or None when they are."""
    if len(given) != 1:
        return "repeated"
    value = given[0]
    if not value:
        return "empty"
    if len(value) > MAX_LENGTH:
        return "too_long"
    if not _ALLOWED.fullmatch(value):
        return "characters"
    return None if _TELLING.search(value) else "nothing_telling"


_ready: list[str] = []
os.register_at_fork(after_in_child=_ready.clear)  # or two workers would have the same


def mint() -> str:
    """A new UUID4 in its usual form. They are made many at a time: one in the middle of a request would cost three times as much."""
    if not _ready:
        _ready.extend(_minted())
    return _ready.pop()


def _minted() -> list[str]:
    """Some UUID4s, column by column: what stands at one place in all of them is set at once."""
    digits = os.urandom(16 * _AT_ONCE).hex().encode()
    columns = bytearray(_FORM * _AT_ONCE)
    for place, source in _PLACES:
        columns[place :: len(_FORM)] = digits[source::32]
    columns[_VARIANT_AT :: len(_FORM)] = digits[16::32].translate(_VARIANT)
    return columns.decode().split()


def trace_context(given: Sequence[str]) -> tuple[str, str] | None:
    """The trace and span ID of one valid W3C `traceparent`, else None."""
    if len(given) == 1 and (match := _TRACEPARENT.fullmatch(given[0])):
        version, trace_id, span_id, rest = match.groups()
        if version != "00" or rest is None:
            return trace_id, span_id
    return None
