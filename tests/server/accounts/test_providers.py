"""How far each provider's word on a mail address goes, and what it publishes about itself is held to."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from server.accounts.oauth import providers
from server.accounts.oauth.discovery import Discovery, Metadata, _is_for
from server.accounts.oauth.github import GitHubProvider
from server.accounts.oauth.identity import Attempt, NotVouched, Provider
from server.accounts.oauth.openid import OpenIDProvider
from server.accounts.oauth.providers import OpenIDClient
from server.accounts.oauth.upstream import ProviderUnavailable, Upstream
from server.clock import wall_clock
from tests.identity_provider import IdentityProvider, rsa, signed
from tests.reading_log import events
from tests.server.accounts.test_upstream import answering
from tests.waiting import ENOUGH_SECONDS

GOOGLE = providers.google("id", "secret")
MICROSOFT = providers.microsoft("id", "secret")
OTHER = providers.openid("https://login.example", "id", "secret", "Staff", ["Staff.example"])
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
ATTEMPT = Attempt("https://chat.example.com/back", "v" * 43, "n0nce")


@pytest.mark.parametrize(
    ("client", "claims", "expected"),
    [
        (GOOGLE, {"email": "ada@gmail.com", "email_verified": True}, (True, True)),
        (GOOGLE, {"email": "ada@gmail.com", "email_verified": "true"}, (True, True)),
        (GOOGLE, {"email": "ada@corp.example", "email_verified": True, "hd": "corp.example"}, (True, True)),
        (GOOGLE, {"email": "ada@corp.example", "email_verified": True}, (True, False)),
        (GOOGLE, {"email": "ada@corp.example", "email_verified": True, "hd": ""}, (True, False)),
        (GOOGLE, {"email": "ada@gmail.com@corp.example", "email_verified": True}, (True, False)),
        (GOOGLE, {"email": "ada@gmail.com", "email_verified": False}, (False, False)),
        (GOOGLE, {"email": "ada@gmail.com", "email_verified": 1}, (False, False)),
        (GOOGLE, {"email": "ada@gmail.com"}, (False, False)),
        (MICROSOFT, {"email": "ada@corp.example"}, (False, False)),
        (MICROSOFT, {"email": "ada@corp.example", "email_verified": True}, (False, False)),
        (MICROSOFT, {"email": "ada@corp.example", "xms_edov": True}, (True, False)),
        (MICROSOFT, {"email": "ada@corp.example", "xms_edov": "1"}, (True, False)),
        (MICROSOFT, {"email": "ada@corp.example", "xms_edov": [True]}, (False, False)),
        (MICROSOFT, {"email": "ada@outlook.com", "xms_edov": 1, "tid": PERSONAL}, (True, True)),
        (MICROSOFT, {"email": "ada@outlook.com", "xms_edov": 1, "tid": "another"}, (True, False)),
        (MICROSOFT, {"email": "ada@corp.example", "xms_edov": 1, "tid": PERSONAL}, (True, False)),
        (OTHER, {"email": "ada@STAFF.example", "email_verified": True}, (True, True)),
        (OTHER, {"email": "ada@staff.example", "email_verified": False}, (False, False)),
        (OTHER, {"email": "ada@x.staff.example", "email_verified": True}, (True, False)),
        (OTHER, {"email": "ada@gmail.com", "email_verified": True, "hd": "gmail.com"}, (True, False)),
    ],
)
def test_a_providers_word_goes_so_far(
    client: OpenIDClient, claims: dict[str, Any], expected: tuple[bool, bool]
) -> None:
    mailbox = client.mailbox(claims)
    assert mailbox is not None
    assert mailbox[1:] == expected


@pytest.mark.parametrize("client", [GOOGLE, MICROSOFT, OTHER])
@pytest.mark.parametrize("address", [None, "", 7, ["ada@gmail.com"], {}])
def test_what_is_no_address_is_none(client: OpenIDClient, address: Any) -> None:
    assert client.mailbox({"email": address, "email_verified": True, "xms_edov": True}) is None


def test_a_secret_is_not_shown() -> None:
    assert "hunter2pw" not in repr(providers.google("id", "hunter2pw"))
    assert "hunter2pw" not in repr(providers.github("id", "hunter2pw"))


def test_github_is_asked_where_it_is() -> None:
    assert providers.github("id", "secret").api == "https://api.github.com"
    assert providers.github("id", "secret", "https://git.example").api == "https://git.example/api/v3"


@pytest.mark.parametrize(
    ("wanted", "said", "is_for"),
    [
        ("https://login.example", "https://login.example", True),
        ("https://login.example", "https://login.example/", False),
        ("https://login.example", "https://evil.example", False),
        ("https://login.example", None, False),
        (MICROSOFT.issuer, "https://login.microsoftonline.com/{tenantid}/v2.0", True),
        (MICROSOFT.issuer, f"https://login.microsoftonline.com/{PERSONAL}/v2.0", True),
        (MICROSOFT.issuer, "https://login.microsoftonline.com.evil.example/{tenantid}/v2.0", False),
        ("https://login.example/common/v2.0", "https://login.example/{tenantid}/v2.0", False),
    ],
)
def test_a_document_has_to_be_that_of_the_issuer_that_was_asked_for(
    wanted: str, said: Any, is_for: bool
) -> None:
    assert _is_for(wanted, said) is is_for


@pytest.fixture
def written() -> Iterator[list[dict[str, Any]]]:
    with events() as lines:
        yield lines


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    opened = Upstream(plain=True, seconds=ENOUGH_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
def client(identity_provider: IdentityProvider) -> OpenIDClient:
    known = identity_provider.client_id, identity_provider.client_secret
    return providers.openid(identity_provider.url, *known, "Staff")


@pytest.fixture
def provider(client: OpenIDClient, upstream: Upstream) -> OpenIDProvider:
    return OpenIDProvider(client, upstream, wall_clock)


async def code(identity_provider: IdentityProvider, provider: Provider) -> str:
    """One that the provider gave out."""
    async with aiohttp.ClientSession() as browser:
        url = await provider.authorization_url(ATTEMPT, "st4te")
        async with browser.get(url, allow_redirects=False) as response:
            return parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"}, {"issuer": None}, {"token_endpoint": None}, {"token_endpoint": "http://evil.example/token"}, {"token_endpoint": 7},
        {"authorization_endpoint": "javascript:alert(1)"}, {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": ""}, {"userinfo_endpoint": "http://10.0.0.1/"},
    ],
)  # fmt: skip
async def test_a_document_that_does_not_fit_is_as_none(
    client: OpenIDClient,
    upstream: Upstream,
    identity_provider: IdentityProvider,
    metadata: dict[str, Any],
    written: list[dict[str, Any]],
) -> None:
    identity_provider.metadata = metadata
    with pytest.raises(ProviderUnavailable):
        await Discovery(client, upstream).metadata()
    (event,) = written
    assert (event["operation"], event["status"]) == (
        "discovery",
        "ANOTHER_ISSUER" if "issuer" in metadata else "BAD_ENDPOINT",
    )


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b'"text"', b"{}"])
async def test_what_is_no_document_is_none(
    client: OpenIDClient, upstream: Upstream, identity_provider: IdentityProvider, body: bytes
) -> None:
    identity_provider.broken["/.well-known/openid-configuration"] = answering(200, body)
    with pytest.raises(ProviderUnavailable):
        await Discovery(client, upstream).metadata()
    identity_provider.broken = {"/keys": answering(200, body)}
    with pytest.raises(ProviderUnavailable):
        await Discovery(client, upstream).keys()


@pytest.mark.parametrize("methods", [None, ["client_secret_basic"], ["client_secret_post"]])
async def test_it_shows_who_it_is_in_the_way_that_the_provider_takes(
    provider: OpenIDProvider, identity_provider: IdentityProvider, methods: Any
) -> None:
    identity_provider.metadata = {"token_endpoint_auth_methods_supported": methods} if methods else {}
    vouched = await provider.identify(await code(identity_provider, provider), ATTEMPT)
    assert vouched.identity.subject == identity_provider.person["sub"]
    (asked,) = [asked for asked in identity_provider.asked if asked.path == "/token"]
    assert ("Authorization" in asked.headers) is (methods != ["client_secret_post"])
    assert ("client_secret" in asked.form) is (methods == ["client_secret_post"])


async def test_an_address_that_the_id_token_leaves_out_is_asked_for(
    provider: OpenIDProvider, identity_provider: IdentityProvider
) -> None:
    identity_provider.person = {"sub": "1"}
    identity_provider.in_userinfo = {"email": "ada@example.com", "email_verified": True}
    vouched = await provider.identify(await code(identity_provider, provider), ATTEMPT)
    assert vouched.mailbox == ("ada@example.com", True, False)
    identity_provider.in_userinfo["sub"] = "2"
    with pytest.raises(NotVouched) as error:
        await provider.identify(await code(identity_provider, provider), ATTEMPT)
    assert error.value.reason == "userinfo_sub"


async def test_keys_that_were_changed_are_found_and_made_up_ones_are_not_asked_for_again_and_again(
    provider: OpenIDProvider, identity_provider: IdentityProvider
) -> None:
    keys = provider._discovery._keys
    moved = 0.0
    now = keys._now
    keys._now = lambda: now() + moved
    await provider.identify(await code(identity_provider, provider), ATTEMPT)
    identity_provider.rotate()
    moved = 60.0
    await provider.identify(await code(identity_provider, provider), ATTEMPT)
    assert identity_provider.times_asked("/keys") == 2
    stranger = rsa("made-up")
    identity_provider.forge = lambda claims, _: signed(claims, stranger)
    for _ in range(5):
        with pytest.raises(NotVouched) as error:
            await provider.identify(await code(identity_provider, provider), ATTEMPT)
        assert error.value.reason == "id_token_key"
    assert identity_provider.times_asked("/keys") == 2
    moved = 120.0
    with pytest.raises(NotVouched):
        await provider.identify(await code(identity_provider, provider), ATTEMPT)
    assert identity_provider.times_asked("/keys") == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"[]", b"{}", b'{"access_token": "a"}', b'{"access_token": 7, "token_type": "bearer"}', b'{"access_token": "", "token_type": "bearer"}',
        b'{"access_token": "a\\r\\nX: y", "token_type": "bearer"}', b'{"access_token": "a", "token_type": "mac"}', b'{"access_token": "\xc3\xbc", "token_type": "bearer"}',
    ],
)  # fmt: skip
async def test_what_is_no_answer_of_a_token_endpoint_is_none(
    provider: OpenIDProvider,
    identity_provider: IdentityProvider,
    answer: bytes,
    written: list[dict[str, Any]],
) -> None:
    identity_provider.broken["/token"] = answering(200, answer)
    with pytest.raises(ProviderUnavailable):
        await provider.identify("code", ATTEMPT)
    (event,) = written
    assert event["operation"] == "token"
    assert event["status"] in {"NO_OBJECT", "NO_ACCESS_TOKEN", "ANOTHER_TOKEN_TYPE"}


@pytest.mark.parametrize(
    "user", [[], {}, {"id": None}, {"id": "1"}, {"id": True}, {"id": 0}, {"id": -1}, {"id": 1.5}]
)
async def test_a_user_of_github_without_a_number_is_nobody(
    upstream: Upstream, identity_provider: IdentityProvider, user: Any, written: list[dict[str, Any]]
) -> None:
    known = identity_provider.client_id, identity_provider.client_secret
    github = GitHubProvider(providers.github(*known, identity_provider.url), upstream)
    identity_provider.user = user
    with pytest.raises(ProviderUnavailable):
        await github.identify(await code(identity_provider, github), ATTEMPT)
    (event,) = written
    assert event["status"] in {"NO_OBJECT", "NO_USER_ID"}


@pytest.mark.parametrize("emails", [None, {}, [], [None], [{"primary": True}], [{"email": 7, "primary": True}], [{"email": "a@b.example", "primary": "yes"}]])  # fmt: skip
async def test_a_user_of_github_may_have_no_address(
    upstream: Upstream, identity_provider: IdentityProvider, emails: Any
) -> None:
    known = identity_provider.client_id, identity_provider.client_secret
    github = GitHubProvider(providers.github(*known, identity_provider.url), upstream)
    identity_provider.emails = emails
    vouched = await github.identify(await code(identity_provider, github), ATTEMPT)
    assert (vouched.identity.subject, vouched.mailbox) == ("583231", None)


async def test_where_that_is_known_the_provider_asks_which_account_it_is_to_be(upstream: Upstream) -> None:
    github = GitHubProvider(providers.github("id", "secret"), upstream)
    query = parse_qs(urlsplit(await github.authorization_url(ATTEMPT, "st4te")).query)
    assert query["prompt"] == ["select_account"]
    assert (GOOGLE.asks_which, MICROSOFT.asks_which, OTHER.asks_which) == (True, True, False)


async def test_an_answer_may_name_the_tenant_where_the_document_is_for_all(upstream: Upstream) -> None:
    provider = OpenIDProvider(MICROSOFT, upstream, wall_clock)
    many = Metadata("https://login.microsoftonline.com/{tenantid}/v2.0", "", "", "", None, True, False)
    provider._discovery._metadata._value = many
    provider._discovery._metadata._fetched_at = float("inf")
    assert await provider.came_from(f"https://login.microsoftonline.com/{PERSONAL}/v2.0")
    assert await provider.came_from(None)
    for issuer in (
        "https://evil.example",
        "https://login.microsoftonline.com/",
        f"https://evil.example/{PERSONAL}/v2.0",
    ):
        assert not await provider.came_from(issuer)


@pytest.mark.parametrize("token", [None, 7, "", "a.b.c", "a.b", "...."])
async def test_an_answer_without_an_id_token_vouches_for_nobody(
    provider: OpenIDProvider, identity_provider: IdentityProvider, token: Any
) -> None:
    identity_provider.forge = lambda *_: token
    with pytest.raises(NotVouched) as error:
        await provider.identify(await code(identity_provider, provider), ATTEMPT)
    assert error.value.reason == "id_token_malformed"
