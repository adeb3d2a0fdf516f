"""The files that browsers load: the widget, and a page to try it on.

They are named one by one in the table of routes, so an address is either one of them or unknown. aiohttp's `FileResponse` gives them their ETag and
picks the compressed copy that lies beside each.
"""

from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from .request import Handler

STATIC = Path(__file__).parent / "static"
WIDGET = STATIC / "widget"
PAGE = STATIC / "page"

# Only what this server serves, and nothing inline.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _File(web.FileResponse):
    """A `FileResponse` that may be prepared a second time, as every other response may; ours is sent before aiohttp does."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None if self.prepared else await super().prepare(request)


# Asked for again each time, answered with 304 while the ETag holds: a new version is in use at once.
_FRESH = {"Cache-Control": "no-cache"}
# Whom the widget then serves is decided by `CORS_ORIGINS`.
_FOR_ANY_SITE = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}


def page(name: str) -> Handler:
    """A file of the demo page."""
    return _served(PAGE / name, {"Content-Security-Policy": _CSP})


def widget(name: str) -> Handler:
    """A file of the widget, which any site may load."""
    return _served(WIDGET / name, _FOR_ANY_SITE)


def _served(path: Path, headers: dict[str, str]) -> Handler:
    async def file(_: web.Request) -> web.StreamResponse:
        """The file as it is, compressed where the client takes that; 304 while its copy is good."""
        return _File(path, headers={**_FRESH, **headers})

    return file
