"""What browsers load: compressed, fresh, and nothing beside it."""

import gzip

import pytest

from tests.harness import ServerProcess, exchange, request_bytes

FILES = [
    "/",
    "/page/page.css",
    "/page/page.js",
    "/page/icon.svg",
    "/widget/chatkit.js",
    "/widget/chatkit.js.map",
]


@pytest.mark.parametrize("path", FILES)
def test_every_file_has_an_etag_with_which_it_is_not_sent_twice(asked: ServerProcess, path: str) -> None:
    first = exchange(asked.address, request_bytes("GET", path))
    assert first.status == 200
    assert len(first.body) == int(first.headers["content-length"]) > 100
    again = exchange(asked.address, request_bytes("GET", path, {"If-None-Match": first.headers["etag"]}))
    assert (again.status, again.body) == (304, b"")
    weak = exchange(
        asked.address, request_bytes("GET", path, {"If-None-Match": f'"x", W/{first.headers["etag"]}'})
    )
    assert weak.status == 304
    other = exchange(asked.address, request_bytes("GET", path, {"If-None-Match": '"another"'}))
    assert other.status == 200


def test_the_widget_is_compressed_for_who_takes_that(asked: ServerProcess) -> None:
    plain = exchange(asked.address, request_bytes("GET", "/widget/chatkit.js"))
    packed = exchange(asked.address, request_bytes("GET", "/widget/chatkit.js", {"Accept-Encoding": "gzip"}))
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    assert "Accept-Encoding" in packed.headers["vary"]
    best = exchange(
        asked.address, request_bytes("GET", "/widget/chatkit.js", {"Accept-Encoding": "gzip, br"})
    )
    assert best.headers["content-encoding"] == "br"
    assert "javascript" in plain.headers["content-type"]
    for refused in ("", "identity", "gzip;q=0", "br;q=0.0, gzip; q=0", "x-gzip", "*"):
        headers = exchange(
            asked.address, request_bytes("GET", "/widget/chatkit.js", {"Accept-Encoding": refused})
        ).headers
        assert "content-encoding" not in headers


CONDITIONS = {
    "If-Modified-Since": "Mon, 01 Jan 99999999999 00:00:00 GMT",
    "If-Unmodified-Since": "Mon, 01 Jan 1990 00:00:00 GMT",
    "If-Range": "Mon, 01 Jan 99999999999 00:00:00 GMT",
    "If-Match": '"x"',
    "Range": "bytes=9999999-",
    "If-None-Match": ",,W/,",
    "Accept-Encoding": ";q=;,=",
}


@pytest.mark.parametrize(("header", "value"), CONDITIONS.items())
@pytest.mark.parametrize("path", FILES)
def test_a_condition_that_we_do_not_know_is_passed_over(
    asked: ServerProcess, path: str, header: str, value: str
) -> None:
    assert exchange(asked.address, request_bytes("GET", path, {header: value})).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/widget/", "/widget", "/widget/chatkit.js.br", "/widget/../routes.py", "/page/%2e%2e/%2e%2e/settings.py", "/widget/" + "a" * 300,
        "/static/page/index.html", "/.env", "/var/chatkit.db",
    ],
)  # fmt: skip
def test_nothing_else_is_served(asked: ServerProcess, path: str) -> None:
    assert exchange(asked.address, request_bytes("GET", path)).status == 404
