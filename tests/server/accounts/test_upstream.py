"""What an identity provider sends is bounded in every way, and what fails is told by its name and the provider's own ID."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from pipeline.context import Request, bound
from server.accounts.oauth.identity import NotVouched
from server.accounts.oauth.upstream import LONGEST, Asked, ProviderUnavailable, Upstream
from tests.identity_provider import IdentityProvider
from tests.reading_log import events

Written = list[dict[str, Any]]


@pytest.fixture
def written() -> Iterator[Written]:
    with events() as lines:
        yield lines


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    opened = Upstream(plain=True, seconds=3.0)
    yield opened
    await opened.close()


def answering(status: int, body: bytes = b"{}", **headers: str) -> Callable[[Any], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return answer


def as_it_is(got: Any) -> Any:
    return got


async def hanging(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(300):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.mark.parametrize(
    ("handler", "status"),
    [
        (answering(500), "HTTP_500"),
        (answering(503, b"<html>"), "HTTP_503"),
        (answering(404), "HTTP_404"),
        (answering(403, b'{"message": "Bad credentials"}'), "HTTP_403"),
        (answering(429, b"slow down"), "HTTP_429"),
        (answering(302, Location="https://evil.example/"), "HTTP_302"),
        (answering(307, Location="/userinfo"), "HTTP_307"),
        (answering(200, b"<html>garbage"), "NOT_JSON"),
        (answering(200, b""), "NOT_JSON"),
        (answering(200, b"\xff\xfe"), "NOT_JSON"),
        (answering(200, b"\x1f\x8b\x08", Content_Encoding="gzip"), "NOT_JSON"),
        (answering(200, b"[" * 100_000), "NOT_JSON"),
        (answering(200, b'"' + b"x" * LONGEST + b'"'), "TOO_LARGE"),
        (endless, "TOO_LARGE"),
        (hanging, "TIMEOUT"),
        (dripping, "TIMEOUT"),
        (cut_off, "ClientPayloadError"),
        (answering(400, b'{"error": "invalid_client"}'), "invalid_client"),
        (answering(401, b'{"error": "her name is Ada"}'), "HTTP_401"),
        (answering(200, b'{"error": "incorrect_client_credentials"}'), "incorrect_client_credentials"),
    ],
)
async def test_an_answer_that_is_none_makes_the_provider_unavailable(
    upstream: Upstream,
    identity_provider: IdentityProvider,
    written: Written,
    handler: Callable[[Any], Awaitable[Any]],
    status: str,
) -> None:
    identity_provider.broken["/token"] = handler
    with pytest.raises(ProviderUnavailable) as error:
        await upstream.ask(
            Asked("oidc", "token", f"{identity_provider.url}/token", {"code": "c0de"}), as_it_is
        )
    assert error.value.retry_after
    (event,) = written
    assert (event["event"], event["dependency"], event["operation"]) == (
        "dependency_call",
        "oauth:oidc",
        "token",
    )
    assert (event["outcome"], event["status"]) == ("failed", status)
    assert "Ada" not in str(event)
    assert "c0de" not in str(event)
    # Nobody was followed anywhere.
    assert [asked.path for asked in identity_provider.asked] == ["/token"]


async def test_both_sides_can_find_the_call_in_the_others_log(
    upstream: Upstream, identity_provider: IdentityProvider, written: Written
) -> None:
    identity_provider.broken["/token"] = answering(500)
    served = Request("from-the-click")
    with bound(served), pytest.raises(ProviderUnavailable):
        await upstream.ask(Asked("oidc", "token", f"{identity_provider.url}/token", {}), as_it_is)
    assert identity_provider.asked[0].headers["X-Request-ID"] == "from-the-click"
    assert written[0]["request_id"] == "from-the-click"
    assert written[0]["upstream_request_id"] == "theirs-1"
    assert served.canonical["oauth_ms"] > 0


async def test_what_does_not_look_like_an_id_is_not_written(
    upstream: Upstream, identity_provider: IdentityProvider, written: Written
) -> None:
    async def odd(_: web.Request) -> web.StreamResponse:
        response = web.Response(status=500, headers={"X-GitHub-Request-Id": "a b<script>"})
        response.headers["X-Request-ID"] = "x" * 500
        return response

    identity_provider.broken["/token"] = odd
    identity_provider.broken["/keys"] = answering(500)
    with pytest.raises(ProviderUnavailable):
        await upstream.ask(Asked("oidc", "keys", f"{identity_provider.url}/keys"), as_it_is)
    assert written[0]["upstream_request_id"] == "theirs-1"


async def test_a_code_that_is_refused_is_no_failure_of_the_provider(
    upstream: Upstream, identity_provider: IdentityProvider, written: Written
) -> None:
    for answer in (
        answering(400, b'{"error": "invalid_grant"}'),
        answering(200, b'{"error": "bad_verification_code"}'),
    ):
        identity_provider.broken["/token"] = answer
        with pytest.raises(NotVouched) as error:
            await upstream.ask(Asked("oidc", "token", f"{identity_provider.url}/token", {}), as_it_is)
        assert error.value.reason == "code_refused"
    assert written == []


async def test_a_provider_that_is_not_there_is_unavailable(upstream: Upstream, written: Written) -> None:
    for url in ("http://127.0.0.1:1/token", "https://127.0.0.1:1/token"):
        with pytest.raises(ProviderUnavailable):
            await upstream.ask(Asked("oidc", "token", url, {}), as_it_is)
    assert [event["status"] for event in written] == ["ClientConnectorError"] * 2


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example/token", "http://10.0.0.1/token", "http://127.0.0.1.evil.example/", "ftp://127.0.0.1/", "file:///etc/passwd", "javascript:alert(1)",
        "//127.0.0.1/token", "/token", "", "https://", "https://user:pw@login.example/", "https://login.example/#part", "http://[::1", "https://login.example:x/",
    ],
)  # fmt: skip
async def test_nothing_is_asked_in_the_clear_of_another_machine(
    upstream: Upstream, url: str, written: Written
) -> None:
    assert not upstream.may_use(url)
    with pytest.raises(ProviderUnavailable):
        await upstream.ask(Asked("oidc", "token", url, {}), as_it_is)
    assert written[0]["status"] == "NOT_ENCRYPTED"


async def test_in_production_nothing_is_asked_in_the_clear_at_all() -> None:
    upstream = Upstream(plain=False)
    assert upstream.may_use("https://login.example/token")
    assert not upstream.may_use("http://127.0.0.1:9/token")
    assert not upstream.may_use("http://localhost:9/token")
    assert Upstream(plain=True).may_use("http://localhost:9/token")


async def test_nothing_that_a_provider_sets_comes_back_to_it(
    upstream: Upstream, identity_provider: IdentityProvider
) -> None:
    identity_provider.broken["/keys"] = answering(200, b"{}", Set_Cookie="track=1")
    for _ in range(2):
        await upstream.ask(Asked("oidc", "keys", f"{identity_provider.url}/keys"), as_it_is)
    assert not any("Cookie" in asked.headers for asked in identity_provider.asked)
    assert identity_provider.asked[0].headers["User-Agent"].startswith("ChatKit/")
