"""Whose account an identity opens: the rule, and every case of it.

    the identity is known                                          its account
    somebody signed in asked to add it to their account            that one
    a verified address that no account has                         a new account
    an address of which the provider is authoritative              the account that has it
    else                                                           nobody's; the log says which of `_REASONS`

An identity is a provider, an issuer and a subject, and never an address: addresses change hands. So an account has one identity at each
issuer at most, and a second one with the same address, as when a mailbox was given to somebody new, opens nothing by itself.

Nobody can lie in wait with an account for an address (https://arxiv.org/abs/2205.10174): there is no account without a proof that the
address was its maker's, and where the proof is only that it once was, it does not open what somebody else has made.
"""

import secrets
from typing import TYPE_CHECKING, NamedTuple

from server.accounts.visitor import Tier
from server.errors import Forbidden, InvalidEmail
from server.mail.address import normalized
from server.store import accounts, identities
from server.store.accounts import Account
from server.store.sign_ins import SignIn

from .identity import Vouched

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_REASONS = {
    "identity_taken": "This is already used to sign in to another account.",
    "account_taken": "Your account has another identity there already.",
    "account_gone": "The account to which this was to be added is not there any more.",
    "email_missing": "We were not told your e-mail address. Please sign in by e-mail instead.",
    "email_not_verified": "Your e-mail address has not been verified there. Please sign in by e-mail instead.",
    "account_exists": "There is an account with this e-mail address. Please sign in by e-mail first, then add this way to it.",
}


class NotLinked(Forbidden):
    """The identity opens no account. `reason` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(_REASONS[reason])
        self.reason = reason


class Linked(NamedTuple):
    """The account that an identity opens, and whether it, or the link, was made just now."""

    account: Account
    created: bool
    linked: bool


async def link(connection: "AsyncConnection", vouched: Vouched, sign_in: SignIn, now: int) -> Linked:
    """The account that `vouched` opens. Raises ``NotLinked``; what was written by then must be undone."""
    found = await _found(connection, vouched, sign_in, now)
    return found._replace(account=await identities.raise_tier(connection, found.account, Tier.FULL))


async def _found(connection: "AsyncConnection", vouched: Vouched, sign_in: SignIn, now: int) -> Linked:
    identity = vouched.identity
    known = await identities.account_of(connection, identity)
    if known is not None:
        if sign_in.account not in {None, known.id}:
            raise NotLinked("identity_taken")
        return Linked(known, created=False, linked=False)
    account, created = await _account_for(connection, vouched, sign_in, now)
    if await identities.add(connection, identity, account.id, now):
        return Linked(account, created, linked=True)
    # The same sign-in twice at the same moment: the other one has just added it.
    known = await identities.account_of(connection, identity)
    if known is None or known.id != account.id:
        raise NotLinked("account_taken" if known is None else "identity_taken")
    return Linked(account, created=False, linked=False)


async def _account_for(
    connection: "AsyncConnection", vouched: Vouched, sign_in: SignIn, now: int
) -> tuple[Account, bool]:
    """The account to which a new identity is added, and whether it was made."""
    if sign_in.account is not None:
        own = await identities.account(connection, sign_in.account)
        if own is None:
            raise NotLinked("account_gone")
        return own, False
    mailbox = vouched.mailbox
    if mailbox is None:
        raise NotLinked("email_missing")
    if not mailbox.verified:
        raise NotLinked("email_not_verified")
    try:
        email = normalized(mailbox.address)
    except InvalidEmail:
        raise NotLinked("email_missing") from None
    new = {
        "id": secrets.token_hex(16),
        "email": email,
        "tier": Tier.FULL,
        "consented_at": sign_in.consented_at,
        "created_at": now,
    }
    account, created = await accounts.account_of(connection, new)
    # What is not ASCII may be one address to the provider and, once normalised, another one here.
    if created or (mailbox.authoritative and mailbox.address.isascii()):
        return account, created
    # Made at this very moment, by the same sign-in in another window.
    known = await identities.account_of(connection, vouched.identity)
    if known is None or known.id != account.id:
        raise NotLinked("account_exists")
    return account, False
