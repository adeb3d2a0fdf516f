"""Signing in with an identity provider, of either kind and on either database: the rule of whose account it is, and what happens once."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from sqlalchemy import func, select, update

from pipeline.log import NotDurable
from server.accounts.oauth import providers
from server.accounts.oauth.flow import ANSWERED_MS, BEGUN_MS, OVER_MS, ProviderSignIn, Returned
from server.accounts.oauth.github import GitHubProvider
from server.accounts.oauth.identity import Provider
from server.accounts.oauth.openid import OpenIDProvider
from server.accounts.oauth.upstream import ProviderUnavailable, Upstream
from server.accounts.sessions import Opened, Sessions
from server.accounts.tokens import Digester, Purpose, minted
from server.accounts.visitor import Tier, Visitor
from server.clock import MINUTE, wall_clock
from server.errors import ConsentRequired, Forbidden, InvalidRequest, InvalidToken, NotFound, TokenExpired
from server.origins import Origins
from server.store import accounts, conversations
from server.store.engine import Store
from server.store.tables import accounts as account_table
from server.store.tables import identities, sign_ins
from server.store.tables import sessions as session_table
from tests.identity_provider import IdentityProvider
from tests.reading_log import events
from tests.waiting import ENOUGH_SECONDS

SITE = "https://chat.example.com"
PAGE = "https://www.example.com/help?topic=keys"
OLD, NEW = b"old" * 11, b"new" * 11
Written = list[dict[str, Any]]


class Clock:
    """Runs, from a moment that a test may move."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return wall_clock() + self.ahead


class Came(NamedTuple):
    """A browser that is back on the page."""

    token: str
    flow: str


class House:
    """A server's part of it; `browse` is the browser's."""

    def __init__(self, store: Store, made: Mapping[str, Provider], clock: Clock, *keys: bytes) -> None:
        self.store = store
        self.clock = clock
        digester = Digester(keys or [NEW])
        self.sessions = Sessions(store, digester, clock)
        self.origins = Origins(frozenset({"https://www.example.com", SITE}))
        self.sign_in = ProviderSignIn(
            store=store,
            digester=digester,
            sessions=self.sessions,
            providers=made,
            clock=clock,
            site=lambda: SITE,
            embeds=self._embeds,
        )

    def _embeds(self, origin: str) -> bool:
        return self.origins.permit(origin)

    async def leave(self, name: str, **more: Any) -> tuple[Returned, str]:
        """Begin, and go through the provider; with what the browser comes back, and the secret that it keeps."""
        asked: dict[str, Any] = {"consent": True, "page_url": PAGE} | more
        begun = await self.sign_in.begin(name, **asked)
        async with aiohttp.ClientSession() as browser:
            response = await browser.get(begun.authorization_url, allow_redirects=False)
            back = urlsplit(response.headers["Location"])
            response.close()
        assert f"{back.scheme}://{back.netloc}{back.path}" == f"{SITE}/api/v1/auth/oauth/{name}/callback"
        query = {key: values[0] for key, values in parse_qs(back.query).items()}
        returned = Returned(query["state"], query.get("code"), query.get("error"), query.get("iss"))
        return returned, begun.flow

    async def come(self, name: str, **more: Any) -> Came:
        """The same, until the page has its token."""
        returned, flow = await self.leave(name, **more)
        page = await self.sign_in.come_back(name, returned)
        address, _, token = page.partition("#chatkit-oauth=")
        assert address in {PAGE, f"{SITE}/"}
        return Came(token, flow)

    async def through(self, name: str, shown: Visitor | None = None, **more: Any) -> Opened:
        """All of it."""
        came = await self.come(name, **more)
        return await self.sign_in.finish(came.token, came.flow, shown)

    async def mail_account(self, email: str, tier: int = 1) -> str:
        """The account of somebody who signed up by mail."""
        async with self.store.writing("test") as connection:
            new = {"id": minted(Purpose.FLOW)[4:36], "email": email, "tier": tier}
            account, _ = await accounts.account_of(connection, new | {"consented_at": 1, "created_at": 1})
        return account.id

    async def count(self, table: Any) -> int:
        async with self.store.reading("test") as connection:
            return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


def made(identity_provider: IdentityProvider, upstream: Upstream) -> dict[str, Provider]:
    """One of each kind, both where the local one is. `google` has Google's rule for addresses."""
    known = identity_provider.client_id, identity_provider.client_secret
    google = replace(providers.google(*known), issuer=identity_provider.url)
    other = providers.openid(identity_provider.url, *known, "Staff", ["staff.example"])
    github = providers.github(*known, identity_provider.url)
    return {
        "google": OpenIDProvider(google, upstream, wall_clock),
        "oidc": OpenIDProvider(other, upstream, wall_clock),
        "github": GitHubProvider(github, upstream),
    }


@pytest.fixture
def written() -> Iterator[Written]:
    with events(durable=True) as lines:
        yield lines


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    opened = Upstream(plain=True, seconds=ENOUGH_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(
    database: Store, identity_provider: IdentityProvider, upstream: Upstream, clock: Clock, written: Written
) -> House:
    return House(database, made(identity_provider, upstream), clock)


def reasons(written: Written) -> list[str]:
    return [event["reason"] for event in written if event["event"] == "oauth_failed"]


def signed_in(written: Written) -> list[dict[str, Any]]:
    return [event for event in written if event["event"] == "account_signed_in"]


each = pytest.mark.parametrize("name", ["oidc", "github"])


@each
async def test_somebody_new_gets_an_account_of_tier_2_and_a_session_that_holds(
    house: House, name: str, written: Written
) -> None:
    opened = await house.through(name)
    who = opened.visitor
    assert (who.tier, who.email) == (Tier.FULL, "ada@example.com")
    assert await house.sessions.find(opened.token) == who
    (event,) = signed_in(written)
    assert (event["created"], event["linked"], event["account"]) == (True, True, who.id)
    (began,) = [line for line in written if line["event"] == "oauth_started"]
    assert (began["sign_in"], began["provider"]) == (event["sign_in"], name)
    assert reasons(written) == []


@each
async def test_who_comes_again_has_the_same_account_whatever_became_of_the_address(
    house: House, name: str, identity_provider: IdentityProvider, written: Written
) -> None:
    first = await house.through(name)
    identity_provider.person |= {"email": "ada@new.example", "email_verified": False}
    identity_provider.emails = []
    second = await house.through(name)
    assert second.visitor.id == first.visitor.id
    assert second.visitor.email == "ada@example.com"
    assert second.token != first.token
    assert [event["linked"] for event in signed_in(written)] == [True, False]


@each
async def test_an_address_that_is_not_verified_makes_no_account(
    house: House, name: str, identity_provider: IdentityProvider, written: Written
) -> None:
    identity_provider.person["email_verified"] = False
    identity_provider.emails = [{"email": "ada@example.com", "primary": True, "verified": False}]
    with pytest.raises(Forbidden, match="verified"):
        await house.through(name)
    assert await house.count(account_table) == await house.count(identities) == 0
    assert reasons(written) == ["email_not_verified"]


@each
@pytest.mark.parametrize("address", [None, "", "no-address", "ada@localhost", "a\0@example.com", 7])
async def test_without_a_usable_address_there_is_no_account(
    house: House, name: str, address: Any, identity_provider: IdentityProvider, written: Written
) -> None:
    identity_provider.person["email"] = address
    identity_provider.emails = [{"email": address, "primary": True, "verified": True}]
    with pytest.raises(Forbidden):
        await house.through(name)
    assert await house.count(account_table) == await house.count(identities) == 0
    assert reasons(written) == ["email_missing"]


async def test_an_address_that_is_no_text_at_all_is_none(
    house: House, identity_provider: IdentityProvider, written: Written
) -> None:
    identity_provider.person["email"] = "\ud800@example.com"
    with pytest.raises(Forbidden):
        await house.through("oidc")
    assert reasons(written) == ["email_missing"]


@each
async def test_a_provider_that_is_not_authoritative_opens_no_account_that_exists(
    house: House, name: str, written: Written
) -> None:
    await house.mail_account("ada@example.com")
    with pytest.raises(Forbidden, match="sign in by e-mail first"):
        await house.through(name)
    assert await house.count(identities) == await house.count(session_table) == 0
    assert reasons(written) == ["account_exists"]


async def test_one_that_is_opens_it_and_raises_its_tier_but_never_lowers_one(
    house: House, identity_provider: IdentityProvider, written: Written
) -> None:
    lower = await house.mail_account("ada@staff.example")
    higher = await house.mail_account("bea@staff.example", Tier.PREMIUM)
    identity_provider.person |= {"sub": "1", "email": "Ada@Staff.example"}
    first = await house.through("oidc")
    identity_provider.person |= {"sub": "2", "email": "bea@staff.example"}
    second = await house.through("oidc")
    assert (first.visitor.id, first.visitor.tier) == (lower, Tier.FULL)
    assert (second.visitor.id, second.visitor.tier) == (higher, Tier.PREMIUM)
    assert (await house.sessions.find(second.token)).tier is Tier.PREMIUM
    assert [(event["created"], event["linked"]) for event in signed_in(written)] == [(False, True)] * 2


async def test_an_address_that_only_becomes_the_accounts_once_it_is_normalised_does_not_open_it(
    house: House, identity_provider: IdentityProvider, written: Written
) -> None:
    await house.mail_account("kim@staff.example")
    identity_provider.person["email"] = "\N{KELVIN SIGN}im@staff.example"
    with pytest.raises(Forbidden):
        await house.through("oidc")
    assert reasons(written) == ["account_exists"]


async def test_a_mailbox_that_was_given_to_somebody_new_does_not_open_the_account_of_who_had_it(
    house: House, identity_provider: IdentityProvider, written: Written
) -> None:
    identity_provider.person |= {"sub": "1", "email": "ada@staff.example"}
    await house.through("oidc")
    identity_provider.person["sub"] = "2"
    with pytest.raises(Forbidden):
        await house.through("oidc")
    assert reasons(written) == ["account_taken"]
    assert await house.count(identities) == 1


async def test_the_same_subject_of_another_provider_is_somebody_else(
    house: House, identity_provider: IdentityProvider
) -> None:
    identity_provider.person |= {"sub": "1", "email": "ada@gmail.com"}
    first = await house.through("google")
    identity_provider.person["email"] = "eve@example.com"
    second = await house.through("oidc")
    assert first.visitor.id != second.visitor.id


@each
async def test_who_is_signed_in_can_add_a_provider_to_their_account(
    house: House, name: str, identity_provider: IdentityProvider, written: Written
) -> None:
    account = await house.mail_account("me@mail.example")
    me = Visitor(account, Tier.LIGHTWEIGHT, "s" * 32, 0, "me@mail.example")
    identity_provider.person["email_verified"] = False
    identity_provider.emails = None
    added = await house.through(name, me, account=me)
    assert (added.visitor.id, added.visitor.email, added.visitor.tier) == (
        account,
        "me@mail.example",
        Tier.FULL,
    )
    again = await house.through(name)
    assert again.visitor.id == account
    assert [(event["created"], event["linked"]) for event in signed_in(written)] == [
        (False, True),
        (False, False),
    ]


async def test_nobody_adds_to_an_account_that_they_are_not_signed_in_to(
    house: House, written: Written
) -> None:
    account = await house.mail_account("me@mail.example")
    me = Visitor(account, Tier.LIGHTWEIGHT, "s" * 32, 0)
    for shown in (None, Visitor("x" * 32, Tier.LIGHTWEIGHT, "t" * 32, 0)):
        with pytest.raises(Forbidden):
            await house.through("oidc", shown, account=me)
    assert reasons(written) == ["other_account"] * 2
    assert await house.count(identities) == 0


async def test_an_identity_that_opens_one_account_is_not_added_to_another(
    house: House, written: Written
) -> None:
    await house.through("oidc")
    account = await house.mail_account("me@mail.example")
    me = Visitor(account, Tier.LIGHTWEIGHT, "s" * 32, 0)
    with pytest.raises(Forbidden, match="another account"):
        await house.through("oidc", me, account=me)
    assert reasons(written) == ["identity_taken"]


async def test_an_anonymous_visitors_conversations_are_the_accounts_now(
    house: House, written: Written
) -> None:
    token = minted(Purpose.ANONYMOUS)
    async with house.store.writing("test") as connection:
        anonymous = await house.sessions.meet(connection, token)
        row = {"id": "c" * 32, "visitor": anonymous.id, "title": "One?", "created_at": 1, "updated_at": 1}
        await conversations.begin(connection, row)
    opened = await house.through("oidc", anonymous)
    async with house.store.reading("test") as connection:
        assert await conversations.find(connection, opened.visitor.id, "c" * 32) is not None
    assert signed_in(written)[0]["conversations"] == 1


async def test_twenty_who_finish_one_sign_in_at_once_get_one_session(
    house: House, identity_provider: IdentityProvider, written: Written
) -> None:
    came = await house.come("oidc")
    results = await asyncio.gather(
        *(house.sign_in.finish(came.token, came.flow, None) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, Opened) for result in results) == 1
    assert sum(isinstance(result, InvalidToken) for result in results) == 19
    assert await house.count(session_table) == 1
    assert identity_provider.times_asked("/token") == 1
    assert reasons(written) == ["token_used"] * 19


@each
async def test_eight_sign_ins_of_somebody_new_at_once_make_one_account(
    house: House, name: str, written: Written
) -> None:
    came = [await house.come(name) for _ in range(8)]
    opened = await asyncio.gather(*(house.sign_in.finish(each.token, each.flow, None) for each in came))
    assert len({one.visitor.id for one in opened}) == 1
    assert len({one.token for one in opened}) == 8
    assert await house.count(account_table) == await house.count(identities) == 1
    assert sorted(event["created"] for event in signed_in(written)) == [False] * 7 + [True]


async def test_an_answer_of_the_provider_is_taken_once(house: House, written: Written) -> None:
    returned, flow = await house.leave("oidc")
    pages = await asyncio.gather(*(house.sign_in.come_back("oidc", returned) for _ in range(10)))
    tokens = [page.partition("#chatkit-oauth=")[2] for page in pages if "#chatkit-oauth=" in page]
    assert len(tokens) == 1
    assert sum(page == f"{PAGE}#chatkit-sign-in-error=used" for page in pages) == 9
    assert (await house.sign_in.finish(tokens[0], flow, None)).token
    assert reasons(written) == ["state_used"] * 9


async def test_a_browser_that_did_not_begin_is_not_signed_in_by_a_link(
    house: House, identity_provider: IdentityProvider, written: Written
) -> None:
    attackers = await house.come("oidc")
    for kept in (minted(Purpose.FLOW), (await house.come("oidc")).flow, attackers.token, "x", "ü\0"):
        with pytest.raises(InvalidToken):
            await house.sign_in.finish(attackers.token, kept, None)
    assert reasons(written) == ["other_browser"] * 5
    assert identity_provider.times_asked("/token") == 0
    # Nothing was spent by that.
    assert (await house.sign_in.finish(attackers.token, attackers.flow, None)).token


async def test_a_code_that_was_meant_for_another_browser_is_of_no_use(house: House, written: Written) -> None:
    victims, _ = await house.leave("oidc")
    own, flow = await house.leave("oidc")
    page = await house.sign_in.come_back("oidc", replace(own, code=victims.code))
    with pytest.raises(InvalidToken):
        await house.sign_in.finish(page.partition("oauth=")[2], flow, None)
    assert reasons(written) == ["code_refused"]
    assert await house.count(session_table) == 0


async def test_an_answer_from_another_provider_than_was_asked_is_refused(
    house: House, identity_provider: IdentityProvider, written: Written
) -> None:
    returned, _ = await house.leave("oidc")
    assert await house.sign_in.come_back("github", returned) == f"{PAGE}#chatkit-sign-in-error=failed"
    returned, _ = await house.leave("oidc")
    page = await house.sign_in.come_back("oidc", replace(returned, issuer="https://evil.example"))
    assert page == f"{PAGE}#chatkit-sign-in-error=failed"
    assert reasons(written) == ["provider_mismatch", "issuer_mismatch"]
    assert identity_provider.times_asked("/token") == 0


async def test_a_provider_that_says_it_names_itself_has_to(
    house: House, identity_provider: IdentityProvider, written: Written
) -> None:
    identity_provider.metadata = {"authorization_response_iss_parameter_supported": True}
    returned, _ = await house.leave("oidc")
    assert (await house.sign_in.come_back("oidc", returned)).endswith("=failed")
    identity_provider.answer_with = {"iss": identity_provider.url}
    assert (await house.through("oidc")).token
    assert reasons(written) == ["issuer_mismatch"]


@pytest.mark.parametrize(
    ("answer", "told", "reason"),
    [
        ({"error": "access_denied"}, "denied", "denied"),
        ({"error": "server_error"}, "failed", "provider_error"),
        ({"error": "<script>"}, "failed", "provider_error"),
        ({}, "failed", "code_missing"),
    ],
)
async def test_a_browser_that_comes_back_with_nothing_ends_it(
    house: House, answer: dict[str, str], told: str, reason: str, written: Written
) -> None:
    returned, _ = await house.leave("oidc")
    refused = Returned(returned.state, None, answer.get("error"), None)
    assert await house.sign_in.come_back("oidc", refused) == f"{PAGE}#chatkit-sign-in-error={told}"
    assert (await house.sign_in.come_back("oidc", returned)).endswith("=used")
    assert reasons(written) == [reason, "state_used"]


async def test_each_part_has_its_time(house: House, clock: Clock, written: Written) -> None:
    returned, _ = await house.leave("oidc")
    clock.ahead += BEGUN_MS + 1
    assert await house.sign_in.come_back("oidc", returned) == f"{PAGE}#chatkit-sign-in-error=expired"
    came = await house.come("oidc")
    clock.ahead += ANSWERED_MS + 1
    with pytest.raises(TokenExpired):
        await house.sign_in.finish(came.token, came.flow, None)
    assert reasons(written) == ["state_expired", "token_expired"]
    returned, flow = await house.leave("oidc")
    clock.ahead += BEGUN_MS - MINUTE
    page = await house.sign_in.come_back("oidc", returned)
    clock.ahead += ANSWERED_MS - MINUTE
    assert (await house.sign_in.finish(page.partition("oauth=")[2], flow, None)).token


async def test_what_is_over_is_forgotten_in_time(house: House, clock: Clock) -> None:
    await house.leave("oidc")
    await house.sign_in.forget()
    assert await house.count(sign_ins) == 1
    clock.ahead += BEGUN_MS + OVER_MS + 1
    await house.sign_in.forget()
    assert await house.count(sign_ins) == 0


async def test_a_state_that_nobody_made_leads_nowhere(house: House, written: Written) -> None:
    for state in (minted(Purpose.STATE), "x", (await house.come("oidc")).flow):
        with pytest.raises(NotFound):
            await house.sign_in.come_back("oidc", Returned(state, "code", None, None))
    assert reasons(written) == ["state_unknown"] * 3
    with pytest.raises(NotFound):
        await house.sign_in.come_back("what somebody wrote", Returned("x", "code", None, None))
    failed = [event for event in written if event["event"] == "oauth_failed"]
    assert [event["provider"] for event in failed] == ["oidc"] * 3 + [None]


@pytest.mark.parametrize(
    "page",
    [
        "https://evil.example/",
        "https://www.example.com.evil.example/",
        "https://www.example.com@evil.example/",
        "https://evil.example\\@www.example.com/",
        "https://www.example.com:444/",
        "http://www.example.com/",
        "https://evil.example/#@www.example.com",
    ],
)
async def test_a_browser_is_sent_only_to_sites_that_may_embed_the_widget(house: House, page: str) -> None:
    with pytest.raises(InvalidRequest):
        await house.sign_in.begin("oidc", consent=True, page_url=page)
    assert await house.count(sign_ins) == 0


async def test_a_site_that_may_not_embed_any_more_gets_no_browser(house: House) -> None:
    returned, _ = await house.leave("oidc")
    house.origins = Origins(frozenset({SITE}))
    page = await house.sign_in.come_back("oidc", returned)
    assert page.startswith(f"{SITE}/#chatkit-oauth=")


async def test_a_fragment_of_the_page_gives_way(house: House) -> None:
    returned, _ = await house.leave("oidc", page_url=f"{PAGE}#part")
    assert (await house.sign_in.come_back("oidc", returned)).startswith(f"{PAGE}#chatkit-oauth=cko_")


async def test_there_is_no_account_without_consent_and_none_with_an_unknown_provider(house: House) -> None:
    with pytest.raises(ConsentRequired):
        await house.sign_in.begin("oidc", consent=False, page_url=None)
    with pytest.raises(NotFound):
        await house.sign_in.begin("nobody", consent=True, page_url=None)
    assert await house.count(sign_ins) == 0


async def test_the_database_holds_nothing_that_opens_anything(
    house: House, identity_provider: IdentityProvider
) -> None:
    returned, flow = await house.leave("oidc")
    page = await house.sign_in.come_back("oidc", returned)
    async with house.store.reading("test") as connection:
        row = (await connection.execute(select(sign_ins))).one()
    kept = " ".join(map(str, row))
    (given,) = identity_provider.given.values()
    token = page.partition("oauth=")[2]
    for secret in (returned.state, returned.code, flow, token, given.nonce, given.challenge):
        assert secret
        assert secret not in kept
    await house.sign_in.finish(token, flow, None)
    async with house.store.reading("test") as connection:
        assert (await connection.execute(select(sign_ins.c.code))).scalar_one() is None


async def test_a_code_that_was_exchanged_in_the_database_opens_nothing(
    house: House, written: Written
) -> None:
    one, other = await house.come("oidc"), await house.come("oidc")
    async with house.store.writing("test") as connection:
        codes = (await connection.execute(select(sign_ins.c.code))).scalars().all()
        assert len(set(codes)) == 2
        flow = house.sign_in._digester.digest(one.flow, Purpose.FLOW)
        taken = select(sign_ins.c.code).where(sign_ins.c.flow != flow).scalar_subquery()
        await connection.execute(update(sign_ins).where(sign_ins.c.flow == flow).values(code=taken))
    with pytest.raises(InvalidToken):
        await house.sign_in.finish(one.token, one.flow, None)
    assert reasons(written) == ["code_damaged"]
    assert (await house.sign_in.finish(other.token, other.flow, None)).token


async def test_a_key_may_be_rotated_while_somebody_is_at_the_provider(
    database: Store, identity_provider: IdentityProvider, upstream: Upstream, clock: Clock, written: Written
) -> None:
    before = House(database, made(identity_provider, upstream), clock, OLD)
    after = House(database, made(identity_provider, upstream), clock, NEW, OLD)
    returned, flow = await before.leave("oidc")
    page = await after.sign_in.come_back("oidc", returned)
    assert (await after.sign_in.finish(page.partition("oauth=")[2], flow, None)).token
    assert reasons(written) == []


async def test_a_provider_that_was_taken_out_vouches_for_nobody(house: House, written: Written) -> None:
    came = await house.come("oidc")
    house.sign_in.providers = {}
    with pytest.raises(InvalidToken):
        await house.sign_in.finish(came.token, came.flow, None)
    assert reasons(written) == ["provider_gone"]


async def test_without_its_line_in_the_log_there_is_no_session(house: House, database: Store) -> None:
    came = await house.come("oidc")
    with events(durable=False), pytest.raises(NotDurable):
        await house.sign_in.finish(came.token, came.flow, None)
    for table in (session_table, account_table, identities):
        assert await house.count(table) == 0


async def test_a_provider_that_is_away_leaves_nothing_behind(
    database: Store, upstream: Upstream, clock: Clock, written: Written
) -> None:
    nowhere = providers.openid("http://127.0.0.1:1", "id", "secret", "Nowhere")
    house = House(database, {"oidc": OpenIDProvider(nowhere, upstream, clock)}, clock)
    with pytest.raises(ProviderUnavailable):
        await house.sign_in.begin("oidc", consent=True, page_url=None)
    assert await house.count(sign_ins) == 0
    assert reasons(written) == ["provider_unavailable"]
    (call,) = [event for event in written if event["event"] == "dependency_call"]
    assert (call["dependency"], call["operation"], call["outcome"]) == ("oauth:oidc", "discovery", "failed")
