"""The headers that a response carries whatever it is."""

from aiohttp import hdrs
from multidict import CIMultiDict, istr

from .request import Exchange

# An `istr` knows its lower case: looking it up costs half.
REQUEST_ID = istr("X-Request-ID")
_SNIFFING = istr("X-Content-Type-Options")

DEFAULTS = CIMultiDict(
    {
        hdrs.SERVER: "ChatKit",
        _SNIFFING: "nosniff",
        istr("X-Frame-Options"): "DENY",
        istr("Referrer-Policy"): "strict-origin-when-cross-origin",
        istr("Cross-Origin-Opener-Policy"): "same-origin",
        istr("Content-Security-Policy"): "default-src 'none'; frame-ancestors 'none'",
        hdrs.CACHE_CONTROL: "no-store",
        hdrs.VARY: hdrs.ORIGIN,
    }
)
"""What holds for every answer that does not say otherwise.

An answer is data for a program: no page may frame it, run it or guess what it is; the widget and the demo page set their own.
It depends on who asks from where (`server.middleware.cors`), or a cache would hand one site's permission to another.
"""


def stamp(headers: CIMultiDict[str], exchange: Exchange) -> None:
    """Add to the `headers` of a response the defaults, its request's ID, and what the middlewares decided for it."""
    if _SNIFFING not in headers:  # One that has it was made with all of them.
        headers.pop(hdrs.SERVER, None)  # aiohttp's own, which tells versions
        for name, value in DEFAULTS.items():
            headers.setdefault(name, value)
    vary = headers[hdrs.VARY]
    if hdrs.ORIGIN not in vary:
        headers[hdrs.VARY] = f"{vary}, {hdrs.ORIGIN}"
    headers[REQUEST_ID] = exchange.request_id
    if exchange.headers:
        headers.update(exchange.headers)
