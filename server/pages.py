"""The files that browsers load: the widget, and a page to try it on.

They are few, small and do not change while the server runs, so they are read once. Each is named in the table of routes: an
address is either one of them or unknown. The ETag is made of the content, so that every machine gives the same.
"""

import hashlib
import re
from pathlib import Path

from aiohttp import web

from .errors import NotFound
from .request import Handler

STATIC = Path(__file__).parent / "static"
WIDGET = STATIC / "widget"
PAGE = STATIC / "page"

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".map": "application/json",
    ".svg": "image/svg+xml",
}
_REFUSED = re.compile(r"q\s*=\s*0(?:\.0*)?\s*(?:;|$)")

# Only what this server serves, and nothing inline.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


# Asked for again each time, answered with 304 while the ETag holds: a new version is in use at once.
_FRESH = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
# Whom the widget then serves is decided by `CORS_ORIGINS`.
_FOR_ANY_SITE = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
_SUFFIXES = {"br": ".br", "gzip": ".gz"}


def page(name: str) -> Handler:
    """A file of the demo page."""
    return _served(PAGE / name, {"Content-Security-Policy": _CSP})


def widget(name: str) -> Handler:
    """A file of the widget, which any site may load."""
    return _served(WIDGET / name, _FOR_ANY_SITE)


def _served(path: Path, headers: dict[str, str]) -> Handler:
    plain = path.read_bytes() if path.exists() else None
    copies = {coding: path.with_name(path.name + suffix) for coding, suffix in _SUFFIXES.items()}
    packed = {coding: copy.read_bytes() for coding, copy in copies.items() if copy.exists()}
    etag = f'"{hashlib.sha256(plain or b"").hexdigest()[:16]}"'
    fixed = {**_FRESH, **headers, "ETag": etag}

    async def file(request: web.Request) -> web.StreamResponse:
        """The file, compressed where the client takes that; 304 while its copy is good."""
        if plain is None:
            raise NotFound("This file has not been built. Whoever runs the server can build it: make setup")
        known = {
            tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")
        }
        if not known.isdisjoint({etag, "*"}):
            return web.Response(status=304, headers=fixed)
        kind = {"Content-Type": _KINDS[path.suffix]}
        taken = _codings(request.headers.get("Accept-Encoding", ""))
        for coding, body in packed.items():
            if coding in taken:
                return web.Response(body=body, headers={**fixed, **kind, "Content-Encoding": coding})
        return web.Response(body=plain, headers={**fixed, **kind})

    return file


def _codings(accepted: str) -> set[str]:
    """The codings that the client names and does not refuse (RFC 9110, section 12.5.3)."""
    named = (part.partition(";") for part in accepted.lower().split(","))
    return {coding.strip() for coding, _, quality in named if not _REFUSED.search(quality)}
