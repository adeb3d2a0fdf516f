"""Accounts, verifications and sessions: every statement about them, each within a transaction of the caller's.

Whether a token can still be spent is decided by the one statement that spends it, so that of any number who try at once one succeeds.
Times are milliseconds since 1970, UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Account:
    """Whose mail address was verified. `tier` is that of `server.accounts.visitor`."""

    id: str
    email: str
    tier: int


@dataclass(frozen=True, slots=True)
class Verification:
    """One request to be let in by mail. `spent_at` is None until somebody has come with the link, `consented_at` where nobody ever consented."""

    id: str
    email: str
    page_url: str | None
    consented_at: int | None
    requested_at: int
    spent_at: int | None


@dataclass(frozen=True, slots=True)
class Session:
    """One session, in force or not. `tier` and `email` are its account's; 0 and None for an anonymous visitor."""

    id: str
    family: str
    visitor: str
    account: str | None
    created_at: int
    expires_at: int
    ended_at: int | None
    end_reason: str | None
    tier: int
    email: str | None


async def ask(connection: "AsyncConnection", verification: Mapping[str, Any]) -> None:
    """Keep a new verification, given by its columns."""
    from .tables import verifications

    await connection.execute(verifications.insert(), dict(verification))


async def arm(connection: "AsyncConnection", verification_id: str, digest: str, expires_at: int) -> None:
    """Have the verification spent also by the token with this digest, until `expires_at`."""
    from .tables import verification_tokens

    row = {"digest": digest, "verification": verification_id, "expires_at": expires_at}
    await connection.execute(verification_tokens.insert(), row)


async def spend(connection: "AsyncConnection", digests: Sequence[str], now: int) -> Verification | None:
    """Spend the verification of a token with one of `digests`; None when there is none that can be spent now."""
    from sqlalchemy import select

    from .tables import verification_tokens as tokens
    from .tables import verifications as table

    held = select(tokens.c.verification).where(tokens.c.digest.in_(digests), tokens.c.expires_at > now)
    spent = (
        table.update()
        .where(table.c.id.in_(held), table.c.spent_at.is_(None))
        .values(spent_at=now)
        .returning(*_verification())
    )
    row = (await connection.execute(spent)).one_or_none()
    return None if row is None else Verification(*row)


async def verification(
    connection: "AsyncConnection", *, verification_id: str = "", digests: Sequence[str] = ()
) -> Verification | None:
    """The verification with that ID, or with a token of one of `digests`, whatever has become of it."""
    from sqlalchemy import select

    from .tables import verification_tokens as tokens
    from .tables import verifications as table

    known = select(tokens.c.verification).where(tokens.c.digest.in_(digests))
    which = table.c.id.in_(known) if digests else table.c.id == verification_id
    row = (await connection.execute(select(*_verification()).where(which))).one_or_none()
    return None if row is None else Verification(*row)


async def consent(connection: "AsyncConnection", email: str) -> int | None:
    """When the owner of `email` last consented, as far as is known; None for never."""
    from sqlalchemy import func, select

    from .tables import accounts, verifications

    asked = select(func.max(verifications.c.consented_at)).where(verifications.c.email == email)
    made = select(func.max(accounts.c.consented_at)).where(accounts.c.email == email)
    row = (await connection.execute(select(asked.scalar_subquery(), made.scalar_subquery()))).one()
    return max((at for at in row if at is not None), default=None)


async def account_of(connection: "AsyncConnection", new: Mapping[str, Any]) -> tuple[Account, bool]:
    """The account of an address, made from the columns `new` if there is none yet; and whether it was made."""
    from sqlalchemy import select

    from .portable import insert
    from .tables import accounts as table

    statement = insert(connection.dialect.name, table).on_conflict_do_nothing(index_elements=["email"])
    made = (await connection.execute(statement, dict(new))).rowcount == 1
    found = select(table.c.id, table.c.email, table.c.tier).where(table.c.email == new["email"])
    return Account(*(await connection.execute(found)).one()), made


async def open_session(connection: "AsyncConnection", session: Mapping[str, Any]) -> None:
    """Keep a new session, given by its columns; one whose ID is there already stays as it is."""
    await connection.execute(_open_session(connection.dialect.name), dict(session))


@cache
def _open_session(database: str) -> Any:
    from .portable import insert
    from .tables import sessions as table

    # Whatever it clashes with: two who make the same one at the same moment may meet at its digest first.
    return insert(database, table).on_conflict_do_nothing()


async def session(connection: "AsyncConnection", digests: Sequence[str]) -> Session | None:
    """The session with a token of one of `digests`, whatever has become of it."""
    row = (await connection.execute(_session(), {"digests": list(digests)})).one_or_none()
    return None if row is None else Session(*tuple(row))


@cache
def _session() -> Any:
    """Asked with nearly every request, so it is put together once."""
    from sqlalchemy import bindparam, func, select

    from .tables import accounts, sessions

    own: list[Any] = [
        sessions.c[name] for name in Session.__dataclass_fields__ if name not in {"tier", "email"}
    ]
    return (
        select(*own, func.coalesce(accounts.c.tier, 0), accounts.c.email)
        .select_from(sessions.outerjoin(accounts, accounts.c.id == sessions.c.account))
        .where(sessions.c.digest.in_(bindparam("digests", expanding=True)))
    )


async def end(connection: "AsyncConnection", session_id: str, reason: str, now: int) -> bool:
    """End one session; False when it had ended before."""
    from .tables import sessions as table

    ended = (
        table.update()
        .where(table.c.id == session_id, table.c.ended_at.is_(None))
        .values(ended_at=now, end_reason=reason)
    )
    return (await connection.execute(ended)).rowcount == 1


async def end_all(connection: "AsyncConnection", email: str, now: int) -> tuple[str, int] | None:
    """End every session of the account with that address: the account, and how many held; None when there is no account."""
    from sqlalchemy import select

    from .tables import accounts, sessions

    account = await connection.scalar(select(accounts.c.id).where(accounts.c.email == email))
    if account is None:
        return None
    ended = (
        sessions.update()
        .where(sessions.c.account == account, sessions.c.ended_at.is_(None), sessions.c.expires_at > now)
        .values(ended_at=now, end_reason="signed_out")
    )
    return account, (await connection.execute(ended)).rowcount


async def end_family(connection: "AsyncConnection", family: str, reason: str, now: int) -> int:
    """End every session of a family that still holds; how many that were."""
    from .tables import sessions as table

    ended = (
        table.update()
        .where(table.c.family == family, table.c.ended_at.is_(None))
        .values(ended_at=now, end_reason=reason)
    )
    return (await connection.execute(ended)).rowcount


def _verification() -> "Sequence[Any]":
    """The columns of a `Verification`, in its order."""
    from .tables import verifications as table

    return [table.c[name] for name in Verification.__dataclass_fields__]
