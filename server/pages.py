"""The files that browsers load: the widget, and a page to try it on.

They are named one by one, so an address is either one of them or unknown. aiohttp's `FileResponse` gives them their ETag and
picks the compressed copy that lies beside each.
"""

from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from .errors import NotFound

STATIC = Path(__file__).parent / "static"
WIDGET = STATIC / "widget"
PAGE = STATIC / "page"

# Only what this server serves, and nothing inline.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _served(folder: Path, *suffixes: str) -> dict[str, Path]:
    return {path.name: path for path in folder.glob("*") if path.suffix in suffixes}


async def index(_: web.Request) -> web.StreamResponse:
    """The demo page."""
    return _File(PAGE / "index.html", headers={"Content-Security-Policy": _CSP, "Cache-Control": "no-cache"})


async def page_file(request: web.Request) -> web.StreamResponse:
    """What the demo page loads."""
    return _file(PAGE, request.match_info["name"], ".css", ".js", ".svg")


async def widget_file(request: web.Request) -> web.StreamResponse:
    """The widget, for any site that embeds it: whom it then serves is decided by `CORS_ORIGINS`."""
    response = _file(WIDGET, request.match_info["name"], ".js", ".map")
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


class _File(web.FileResponse):
    """A `FileResponse` that may be prepared a second time, as every other response may; ours is sent before aiohttp does."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None if self.prepared else await super().prepare(request)


def _file(folder: Path, name: str, *suffixes: str) -> _File:
    path = _served(folder, *suffixes).get(name)
    if path is None:
        raise NotFound("There is nothing at this address.")
    # Asked for again each time, answered with 304 while the ETag holds: a new version is in use at once.
    return _File(path, headers={"Cache-Control": "no-cache"})
