"""What is allowed how often: the one table, by kind of work and by tier.

A rate holds for any window of its length, not for minutes of the clock: 10 a minute means that no 60 seconds hold more than 10.
What an anonymous visitor asks is counted for their session and for their address, what a user asks for the user
(`server.middleware.limits`), and each must have room.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from server.accounts.visitor import Tier

MINUTE = 60
DAY = 86_400


class Work(StrEnum):
    """The kinds of work that a route can ask for; a route that asks for none of them is neither counted nor shed."""

    CHAT = "chat"
    SAVE = "save"
    PERSONALIZE = "personalize"
    SIGN_UP = "sign_up"
    """Whatever sends a verification mail: signing up, and asking for another mail."""
    READ = "read"
    """Whatever only looks at what is the visitor's own: cheap, and asked often by a widget that waits for something."""
    OTHER = "other"


class Rate(NamedTuple):
    """At most `amount` in any `seconds`."""

    amount: int
    seconds: int


class Policy(NamedTuple):
    """What is allowed, under the `name` that the log and the keys have; every one of the `rates` holds.

    One that `fails_closed` refuses rather than guesses while the counts that are shared by all cannot be reached.
    """

    name: str
    rates: tuple[Rate, ...]
    fails_closed: bool = False


def _everybody(policy: Policy) -> Mapping[Tier, Policy | None]:
    return dict.fromkeys(Tier, policy)


POLICIES: Mapping[Work, Mapping[Tier, Policy | None]] = {
    Work.CHAT: {
        Tier.ANONYMOUS: Policy("chat", (Rate(10, MINUTE), Rate(500, DAY))),
        Tier.LIGHTWEIGHT: Policy("chat", (Rate(30, MINUTE),)),
        Tier.FULL: Policy("chat", (Rate(100, MINUTE),)),
        Tier.PREMIUM: None,
    },
    Work.SAVE: _everybody(Policy("save", (Rate(5, MINUTE),))),
    Work.PERSONALIZE: _everybody(Policy("personalize", (Rate(3, MINUTE),))),
    Work.SIGN_UP: _everybody(Policy("sign_up", (Rate(10, MINUTE), Rate(100, DAY)), fails_closed=True)),
    Work.READ: _everybody(Policy("read", (Rate(60, MINUTE),))),
    Work.OTHER: _everybody(Policy("other", (Rate(10, MINUTE),))),
}
"""None is no limit."""

VERIFICATION_MAIL = Policy("verification_mail", (Rate(5, 10 * MINUTE), Rate(20, DAY)), fails_closed=True)
"""Mails to one address, whoever asks for them: a link lives for ten minutes, and nobody's mailbox is to be filled from here."""

SHARED_TIMES = 20
"""How many times as much is allowed to an address that many visitors are known to share (setting `SHARED_NETWORKS`)."""
