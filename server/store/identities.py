"""Identities: who somebody is at a provider, and whose account that opens; every statement within a transaction of the caller's."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .accounts import Account

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Identity:
    """A `subject` of an `issuer`, as `provider` tells of it."""

    provider: str
    issuer: str
    subject: str


async def account_of(connection: "AsyncConnection", identity: Identity) -> Account | None:
    """The account that an identity opens."""
    from sqlalchemy import select

    from .tables import accounts, identities

    found = (
        select(accounts.c.id, accounts.c.email, accounts.c.tier)
        .select_from(identities.join(accounts, accounts.c.id == identities.c.account))
        .where(
            identities.c.provider == identity.provider,
            identities.c.issuer == identity.issuer,
            identities.c.subject == identity.subject,
        )
    )
    row = (await connection.execute(found)).one_or_none()
    return None if row is None else Account(*tuple(row))


async def add(connection: "AsyncConnection", identity: Identity, account: str, now: int) -> bool:
    """Have `identity` open `account`; False when it opens one already, or the account has another identity there."""
    from .portable import insert
    from .tables import identities as table

    row = {**asdict(identity), "account": account, "created_at": now}
    statement = insert(connection.dialect.name, table).values(row).on_conflict_do_nothing()
    return (await connection.execute(statement)).rowcount == 1


async def account(connection: "AsyncConnection", account_id: str) -> Account | None:
    """The account of that ID."""
    from sqlalchemy import select

    from .tables import accounts as table

    found = select(table.c.id, table.c.email, table.c.tier).where(table.c.id == account_id)
    row = (await connection.execute(found)).one_or_none()
    return None if row is None else Account(*tuple(row))


async def raise_tier(connection: "AsyncConnection", account: Account, tier: int) -> Account:
    """`account` with at least `tier`; a higher one stays."""
    from .tables import accounts as table

    if account.tier >= tier:
        return account
    raised = table.update().where(table.c.id == account.id, table.c.tier < tier).values(tier=tier)
    await connection.execute(raised)
    return Account(account.id, account.email, tier)
