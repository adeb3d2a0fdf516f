"""The seam between the outbox and whatever takes its messages, and what can keep a message from being taken.

Undelivered           was not taken
├── Refused           and never will be: this message, or its recipient
└── Undeliverable     not now
    └── Unreachable   nor would any other message be

"""

from typing import Protocol

from .message import Message


class Undelivered(Exception):
    """A message was not taken.

    `stage` is how far it came (`connect`, `tls`, `hello`, `login`, `sender`, `recipient`, `data`…), `reason` the type of what stopped it,
    and `status` the other side's own code for it, such as ``550 5.1.1``, if it gave one. None of them holds anything of the message.
    """

    def __init__(self, stage: str, reason: str, status: str | None = None) -> None:
        super().__init__(f"{stage}: {reason} {status or ''}".strip())
        self.stage = stage
        self.reason = reason
        self.status = status


class Refused(Undelivered):
    """No other attempt would do better."""


class Undeliverable(Undelivered):
    """Another attempt may do better."""


class Unreachable(Undeliverable):
    """The other side takes nothing at all, from anyone or from us."""


class Carrier(Protocol):
    """Takes messages, and answers for them from then on.

    Every implementation passes `tests/contract/test_carrier.py`.
    """

    mock: bool
    """Whether it only pretends: nobody receives what it takes."""
    available: bool
    """Whether it can take anything, as it is set up."""

    async def send(self, message: Message) -> str:
        """Hand `message` over; the receipt: a mail server's words, or the file. Raises ``Undelivered``."""


class NoCarrier:
    """What a server has that may not pretend and was told of no mail server. Letters wait until it is told, or are given up."""

    mock = False
    available = False

    async def send(self, message: Message) -> str:  # noqa: ARG002
        """It never does."""
        raise Unreachable("setup", "NoMailServer")
