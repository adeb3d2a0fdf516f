"""Accounts and sessions, on either database: a token lets in one visitor, once, for as long as it holds, and lies in no table."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipeline.log import NotDurable
from server.accounts.letter import FRAGMENT, KIND, LINK_MS, composer
from server.accounts.sessions import ANONYMOUS_MS, SESSION_MS, Opened, Sessions
from server.accounts.signup import PENDING_MS, SignUp
from server.accounts.tokens import Digester, Purpose, minted
from server.accounts.visitor import Tier
from server.errors import (
    ConsentRequired,
    InvalidEmail,
    InvalidRequest,
    InvalidToken,
    NotFound,
    RateLimited,
    SessionExpired,
    SessionNotFound,
    TokenExpired,
    Unauthorized,
)
from server.mail.folder import Folder
from server.mail.outbox import Letter, Outbox
from server.origins import Origins
from server.store import accounts, tables
from server.store.engine import Store
from tests.reading_log import events

SITE = "https://www.example.com"
ADDRESS = "ada@example.org"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now


class People:
    """The parts that a server has, on one database, and what a visitor would do with them."""

    def __init__(self, store: Store, folder: Path, clock: Clock, *keys: bytes) -> None:
        digester = Digester(keys or (b"k" * 32,))
        self.store = store
        self.clock = clock
        self.spent: set[str] = set()
        self.sessions = Sessions(store, digester, clock)
        self.letter = composer(store, digester, clock, lambda: "http://localhost:8000")
        self.outbox = Outbox(store, Folder(folder, "chat@example.com"), {KIND: self.letter})
        self.sign_up = SignUp(
            store=store,
            digester=digester,
            sessions=self.sessions,
            outbox=self.outbox,
            clock=clock,
            embeds=Origins(frozenset({SITE})).permit,
            spend=self._spend,
        )

    async def _spend(self, address: str) -> None:
        if address in self.spent:
            raise RateLimited("Too many letters.", retry_after=60)

    async def rows(self, table: Any) -> list[Any]:
        async with self.store.reading("test") as connection:
            return list(await connection.execute(select(table)))

    async def link(self, email: str = ADDRESS, page_url: str | None = None) -> str:
        """Sign up, and read the letter."""
        asked = await self.sign_up.ask(email, consent=True, page_url=page_url)
        return await self.letter_of(asked.id) or ""

    async def letter_of(self, verification: str) -> str | None:
        (row,) = [row for row in await self.rows(tables.outbox) if row.subject_id == verification]
        letter = Letter(row.id, row.kind, row.to_email, row.subject_id, None, 1, 0.0)
        message = await self.letter(letter)
        return None if message is None else message.link

    async def token(self, email: str = ADDRESS) -> str:
        return (await self.link(email)).partition(f"#{FRAGMENT}=")[2]

    async def signed_in(self, email: str = ADDRESS) -> Opened:
        return await self.sign_up.verify(await self.token(email), None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(database: Store, tmp_path: Path, clock: Clock) -> People:
    return People(database, tmp_path, clock)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[dict[str, Any]]]:
    """What is logged, on a disk that takes everything."""
    with events(durable=True) as written:
        yield written


def _named(log: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in log if event["event"] == name]


async def test_who_reads_the_letter_is_let_in(people: People, log: list[dict[str, Any]]) -> None:
    opened = await people.signed_in("Ada@Example.ORG")
    who = await people.sessions.find(opened.token)
    assert (who, who.tier, who.email) == (opened.visitor, Tier.LIGHTWEIGHT, "ada@example.org")
    assert who.expires_at == people.clock.now + SESSION_MS
    (verified,) = _named(log, "account_verified")
    assert (verified["account"], verified["created"], verified["session"]) == (who.id, True, who.session)


async def test_signing_up_again_is_signing_in(people: People, log: list[dict[str, Any]]) -> None:
    first, again = await people.signed_in(), await people.signed_in()
    assert first.visitor.id == again.visitor.id
    assert [event["created"] for event in _named(log, "account_verified")] == [True, False]
    assert len(await people.rows(tables.accounts)) == 1
    await people.sessions.find(first.token)  # the other session goes on


async def test_of_twenty_who_come_with_one_link_at_once_one_is_let_in(people: People) -> None:
    token = await people.token()
    came = await asyncio.gather(
        *(people.sign_up.verify(token, None) for _ in range(20)), return_exceptions=True
    )
    assert len([one for one in came if isinstance(one, Opened)]) == 1
    assert {type(one) for one in came} == {Opened, InvalidToken}
    assert len(await people.rows(tables.sessions)) == 1


async def test_twenty_links_of_one_new_address_make_one_account(people: People) -> None:
    tokens = [await people.token() for _ in range(20)]
    came = await asyncio.gather(*(people.sign_up.verify(token, None) for token in tokens))
    assert len({opened.visitor.id for opened in came}) == 1
    assert len(await people.rows(tables.accounts)) == 1


async def test_a_link_holds_for_ten_minutes_and_not_longer(people: People, log: list[dict[str, Any]]) -> None:
    token = await people.token()
    people.clock.now += LINK_MS - 1
    await people.sign_up.verify(token, None)
    late = await people.token()
    people.clock.now += LINK_MS
    with pytest.raises(TokenExpired):
        await people.sign_up.verify(late, None)
    assert [event["reason"] for event in _named(log, "verification_failed")] == ["expired"]


async def test_what_is_no_token_lets_nobody_in(people: People, log: list[dict[str, Any]]) -> None:
    opened = await people.signed_in()
    for text in ("", "x", minted(Purpose.VERIFICATION), opened.token, "ckv_" + "é" * 43, "\x00"):
        with pytest.raises(InvalidToken):
            await people.sign_up.verify(text, None)
    assert {event["reason"] for event in _named(log, "verification_failed")} == {"unknown"}


async def test_a_token_is_good_for_one_thing(people: People) -> None:
    token = await people.token()
    for attempt in (people.sessions.find(token), people.sessions.refresh(token)):
        with pytest.raises(Unauthorized):
            await attempt


async def test_either_copy_of_a_letter_lets_in_and_both_together_once(people: People) -> None:
    for used in (0, 1):
        asked = await people.sign_up.ask(ADDRESS, consent=True, page_url=None)
        tokens = [(await people.letter_of(asked.id) or "").partition(f"#{FRAGMENT}=")[2] for _ in range(2)]
        await people.sign_up.verify(tokens[used], None)
        for token in tokens:
            with pytest.raises(InvalidToken):
                await people.sign_up.verify(token, None)
        assert await people.letter_of(asked.id) is None  # nobody wants it any more


async def test_without_consent_there_is_no_letter_and_no_account(people: People) -> None:
    with pytest.raises(ConsentRequired):
        await people.sign_up.ask(ADDRESS, consent=False, page_url=None)
    assert await people.rows(tables.outbox) == []
    asked = await people.sign_up.again(ADDRESS, page_url=None)
    assert await people.letter_of(asked.id) is None
    assert await people.rows(tables.accounts) == []


async def test_who_has_consented_once_can_ask_for_another_letter(people: People) -> None:
    await people.sign_up.ask(ADDRESS, consent=True, page_url=None)
    asked = await people.sign_up.again(ADDRESS, page_url=None)
    assert await people.letter_of(asked.id) is not None


async def test_known_and_unknown_addresses_leave_the_same_traces(
    people: People, log: list[dict[str, Any]]
) -> None:
    await people.signed_in("known@example.org")
    log.clear()
    before = len(await people.rows(tables.verifications))
    for email in ("known@example.org", "unknown@example.org"):
        await people.sign_up.ask(email, consent=True, page_url=None)
        await people.sign_up.again(email, page_url=None)
    assert len(await people.rows(tables.verifications)) == before + 4
    assert [event["event"] for event in log] == ["sign_in_requested"] * 4
    assert all(event.keys() == log[0].keys() for event in log)


@pytest.mark.parametrize("email", ["", "ada", "ada@", "@example.org", "a b@example.org", "ada@localhost"])
async def test_what_is_no_address_is_refused(people: People, email: str) -> None:
    for attempt in (
        people.sign_up.ask(email, consent=True, page_url=None),
        people.sign_up.again(email, page_url=None),
    ):
        with pytest.raises(InvalidEmail):
            await attempt


async def test_an_address_that_has_had_its_share_gets_no_letter(people: People) -> None:
    people.spent = {ADDRESS}
    for attempt in (
        people.sign_up.ask(ADDRESS.upper(), consent=True, page_url=None),
        people.sign_up.again(ADDRESS, page_url=None),
    ):
        with pytest.raises(RateLimited):
            await attempt
    assert await people.rows(tables.outbox) == []


async def test_a_link_leads_only_to_a_site_that_may_embed_the_widget(people: People) -> None:
    assert (await people.link()).startswith("http://localhost:8000/#")
    assert (await people.link(page_url=f"{SITE}/help?topic=1#top")).startswith(
        f"{SITE}/help?topic=1#{FRAGMENT}=ckv_"
    )
    for page in (
        "https://evil.example/",
        f"{SITE}.evil.example/",
        f"{SITE}@evil.example/",
        f"{SITE}:8443/",
        "http://www.example.com/",
    ):
        with pytest.raises(InvalidRequest, match="page_url"):
            await people.sign_up.ask(ADDRESS, consent=True, page_url=page)


async def test_a_verification_says_how_it_stands(people: People) -> None:
    asked = await people.sign_up.ask(ADDRESS, consent=True, page_url=None)
    assert await people.sign_up.status(asked.id) == "pending"
    people.clock.now += LINK_MS
    assert await people.sign_up.status(asked.id) == "expired"
    link = await people.letter_of(asked.id) or ""  # late, and good all the same
    await people.sign_up.verify(link.partition(f"#{FRAGMENT}=")[2], None)
    assert await people.sign_up.status(asked.id) == "verified"
    people.clock.now += PENDING_MS
    for unknown in (asked.id, "0" * 32):
        with pytest.raises(NotFound):
            await people.sign_up.status(unknown)


async def test_the_status_does_not_tell_whether_a_letter_is_on_its_way(people: People) -> None:
    await people.signed_in(ADDRESS)
    waiting = await people.sign_up.again(ADDRESS, page_url=None)
    withheld = await people.sign_up.again("nobody@example.org", page_url=None)
    seen: list[str] = []
    for _ in range(
        40
    ):  # the mail server is away: one is tried again and again, the other dropped at the first attempt
        assert await people.letter_of(waiting.id) is not None
        if not seen:
            assert await people.letter_of(withheld.id) is None
        both = {await people.sign_up.status(asked.id) for asked in (waiting, withheld)}
        assert len(both) == 1
        seen += both
        people.clock.now += LINK_MS // 20
    assert seen == ["pending"] * 20 + ["expired"] * 20


async def test_what_cannot_be_recorded_has_not_happened(people: People) -> None:
    token, opened = await people.token(), await people.signed_in("b@example.org")
    with events(durable=False):
        for attempt in (
            people.sign_up.verify(token, None),
            people.sessions.refresh(opened.token),
            people.sessions.end(opened.visitor),
        ):
            with pytest.raises(NotDurable):
                await attempt
    assert len(await people.rows(tables.accounts)) == 1
    assert (await people.sessions.find(opened.token)).id == opened.visitor.id
    with events(durable=True):
        await people.sign_up.verify(token, None)


async def test_a_refresh_gives_a_new_token_and_ends_the_old_one(people: People) -> None:
    old = await people.signed_in()
    people.clock.now += SESSION_MS - 1
    new = await people.sessions.refresh(old.token)
    assert new.visitor.id == old.visitor.id
    assert new.visitor.expires_at == people.clock.now + SESSION_MS
    await people.sessions.find(new.token)
    with pytest.raises(SessionExpired):
        await people.sessions.find(old.token)


async def test_a_token_that_is_refreshed_twice_ends_its_whole_family(
    people: People, log: list[dict[str, Any]]
) -> None:
    first, other = await people.signed_in(), await people.signed_in()
    second = await people.sessions.refresh(first.token)
    third = await people.sessions.refresh(second.token)
    with pytest.raises(SessionExpired):
        await people.sessions.refresh(first.token)
    for token in (first.token, second.token, third.token):
        with pytest.raises(SessionExpired):
            await people.sessions.find(token)
    await people.sessions.find(other.token)  # another family of the same account
    (detected,) = _named(log, "session_reuse_detected")
    assert (detected["session"], detected["ended"], detected["level"]) == (
        first.visitor.session,
        1,
        "WARNING",
    )


async def test_of_many_who_refresh_one_token_at_once_none_keeps_a_session(people: People) -> None:
    opened = await people.signed_in()
    came = await asyncio.gather(
        *(people.sessions.refresh(opened.token) for _ in range(10)), return_exceptions=True
    )
    (winner,) = [one for one in came if isinstance(one, Opened)]
    with pytest.raises(SessionExpired):
        await people.sessions.find(winner.token)


async def test_a_session_ends_after_a_day_and_when_its_owner_logs_out(people: People) -> None:
    one, other = await people.signed_in(), await people.signed_in()
    await people.sessions.end(one.visitor)
    with pytest.raises(SessionExpired):
        await people.sessions.find(one.token)
    people.clock.now += SESSION_MS
    with pytest.raises(SessionExpired):
        await people.sessions.find(other.token)
    with pytest.raises(SessionExpired):
        await people.sessions.refresh(other.token)


async def test_a_key_is_rotated_without_ending_a_session_and_taken_out_ends_it(
    people: People, tmp_path: Path, clock: Clock
) -> None:
    opened = await people.signed_in()
    rotated = People(people.store, tmp_path, clock, b"n" * 32, b"k" * 32)
    assert (await rotated.sessions.find(opened.token)).id == opened.visitor.id
    newer = await rotated.sessions.refresh(opened.token)
    only_new = People(people.store, tmp_path, clock, b"n" * 32)
    assert (await only_new.sessions.find(newer.token)).id == opened.visitor.id
    later = await people.signed_in()
    with pytest.raises(Unauthorized):
        await only_new.sessions.find(later.token)


async def test_an_anonymous_visitor_is_known_again_by_the_token_that_it_made(people: People) -> None:
    token = minted(Purpose.ANONYMOUS)
    unknown = await people.sessions.find(token)
    async with people.store.writing("test") as connection:
        met = await people.sessions.meet(connection, token)
    people.clock.now += ANONYMOUS_MS - 1
    known = await people.sessions.find(token)
    assert unknown.id == met.id == known.id
    assert known.tier is Tier.ANONYMOUS
    people.clock.now += 1
    with pytest.raises(SessionExpired):
        await people.sessions.find(token)


async def test_the_token_of_an_anonymous_visitor_opens_no_account(people: People) -> None:
    opened = await people.signed_in()
    async with people.store.writing("test") as connection:
        # As a body may hold it: what opens an account there opens none.
        who = await people.sessions.meet(connection, opened.token[:-1] + "!")
    assert who.anonymous
    assert who.id != opened.visitor.id


async def test_what_an_anonymous_visitor_had_moves_once(people: People) -> None:
    token = minted(Purpose.ANONYMOUS)
    async with people.store.writing("test") as connection:
        anonymous = await people.sessions.meet(connection, token)
        row = {"id": "1" * 32, "visitor": anonymous.id, "title": "T", "created_at": 1, "updated_at": 1}
        await connection.execute(tables.conversations.insert(), row)
    opened = await people.sign_up.verify(await people.token(), anonymous)
    assert [row.visitor for row in await people.rows(tables.conversations)] == [opened.visitor.id]
    with pytest.raises(SessionExpired):
        await people.sessions.find(token)
    for nothing in (token, minted(Purpose.SESSION), opened.token, "x"):
        with pytest.raises(SessionNotFound):
            await people.sessions.bring(opened.visitor, nothing)


async def test_a_session_can_be_brought_after_signing_in(people: People, log: list[dict[str, Any]]) -> None:
    opened, token = await people.signed_in(), minted(Purpose.ANONYMOUS)
    async with people.store.writing("test") as connection:
        anonymous = await people.sessions.meet(connection, token)
        row = {"id": "1" * 32, "visitor": anonymous.id, "title": "T", "created_at": 1, "updated_at": 1}
        await connection.execute(tables.conversations.insert(), row)
    assert await people.sessions.bring(opened.visitor, token) == 1
    (migrated,) = _named(log, "session_migrated")
    assert (migrated["account"], migrated["conversations"]) == (opened.visitor.id, 1)


async def test_all_sessions_of_one_account_end_and_nobody_elses(people: People) -> None:
    ours = [await people.signed_in() for _ in range(2)]
    theirs = await people.signed_in("other@example.com")
    email, now = ADDRESS, people.clock()
    async with people.store.writing("test") as connection:
        assert await accounts.end_all(connection, "nobody@example.com", now) is None
        assert await accounts.end_all(connection, email, now) == (ours[0].visitor.id, 2)
        assert await accounts.end_all(connection, email, now) == (ours[0].visitor.id, 0)
    for opened in ours:
        with pytest.raises(SessionExpired):
            await people.sessions.find(opened.token)
    assert (await people.sessions.find(theirs.token)).id == theirs.visitor.id


async def test_what_is_over_is_forgotten_in_time(people: People) -> None:
    await people.signed_in()
    await people.sessions.forget()
    assert len(await people.rows(tables.sessions)) == 1
    people.clock.now += 30 * SESSION_MS
    await people.sessions.forget()
    assert await people.rows(tables.sessions) == await people.rows(tables.verifications) == []
    assert len(await people.rows(tables.accounts)) == 1


async def test_no_table_holds_a_token_that_opens_anything(people: People) -> None:
    link, opened = await people.link(), await people.signed_in("b@example.org")
    secrets = {link.partition(f"#{FRAGMENT}=")[2], opened.token}
    async with people.store.reading("test") as connection:
        for table in tables.metadata.sorted_tables:
            for row in await connection.execute(select(table)):
                for secret in secrets:
                    assert secret not in repr(row)
                    assert secret[4:24] not in repr(row)
