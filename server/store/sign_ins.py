"""Sign-ins with an identity provider while they are under way: every statement about them, each within a transaction of the caller's.

What can happen once is decided by the one statement that does it, so that of any number who try at once one succeeds. Times are
milliseconds since 1970, UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class SignIn:
    """One of them. `flow` and `token` are digests, `code` is sealed; see `server.accounts.oauth.flow`."""

    id: str
    provider: str
    flow: str
    token: str | None
    code: str | None
    page_url: str | None
    account: str | None
    consented_at: int
    expires_at: int
    answered_at: int | None
    spent_at: int | None


async def begin(connection: "AsyncConnection", sign_in: Mapping[str, Any]) -> None:
    """Keep a new one, given by its columns."""
    from .tables import sign_ins

    await connection.execute(sign_ins.insert(), dict(sign_in))


async def find(
    connection: "AsyncConnection", *, state: Sequence[str] = (), token: Sequence[str] = ()
) -> SignIn | None:
    """The one with a state, or a token, of one of these digests, whatever has become of it."""
    from sqlalchemy import select

    from .tables import sign_ins as table

    which = table.c.state.in_(state) if state else table.c.token.in_(token)
    columns: list[Any] = [table.c[name] for name in SignIn.__dataclass_fields__]
    row = (await connection.execute(select(*columns).where(which))).one_or_none()
    return None if row is None else SignIn(*tuple(row))


async def answer(
    connection: "AsyncConnection", sign_in: str, *, token: str, code: str, now: int, expires_at: int
) -> bool:
    """Keep the sealed `code` with which the browser came back, until `expires_at`; False when it is too late, or not the first time."""
    from .tables import sign_ins as table

    answered = (
        table.update()
        .where(table.c.id == sign_in, table.c.answered_at.is_(None), table.c.expires_at > now)
        .values(token=token, code=code, answered_at=now, expires_at=expires_at)
    )
    return (await connection.execute(answered)).rowcount == 1


async def close(connection: "AsyncConnection", sign_in: str, now: int) -> bool:
    """The browser came back with nothing: it is over. False when it is too late, or not the first time."""
    from .tables import sign_ins as table

    closed = (
        table.update()
        .where(table.c.id == sign_in, table.c.answered_at.is_(None), table.c.expires_at > now)
        .values(answered_at=now, spent_at=now)
    )
    return (await connection.execute(closed)).rowcount == 1


async def spend(connection: "AsyncConnection", sign_in: str, now: int) -> bool:
    """Spend it, and forget the code; False when that is not possible, or not any more."""
    from .tables import sign_ins as table

    spent = (
        table.update()
        .where(table.c.id == sign_in, table.c.spent_at.is_(None), table.c.expires_at > now)
        .values(spent_at=now, code=None)
    )
    return (await connection.execute(spent)).rowcount == 1
