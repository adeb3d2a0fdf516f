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


@pytest.mark.parametrize(
    "path",
    [
        "/widget/", "/widget", "/widget/chatkit.js.br", "/widget/../routes.py", "/page/%2e%2e/%2e%2e/settings.py", "/widget/" + "a" * 300,
        "/static/page/index.html", "/.env", "/var/chatkit.db",
    ],
)  # fmt: skip
def test_nothing_else_is_served(asked: ServerProcess, path: str) -> None:
    assert exchange(asked.address, request_bytes("GET", path)).status == 404
