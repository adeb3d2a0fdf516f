"""What is asked of an identity provider and what comes of it, whichever kind it is."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Protocol

from server.store.identities import Identity

from .providers import Client, Mailbox


@dataclass(frozen=True, slots=True)
class Attempt:
    """What belongs to one sign-in and to no other: the provider's answer has to fit all of it.

    `verifier` is that of PKCE (RFC 7636), `nonce` comes back in the ID token, `redirect_uri` is where the browser comes back to.
    """

    redirect_uri: str
    verifier: str
    nonce: str

    @property
    def challenge(self) -> str:
        """What the provider is shown of the verifier beforehand: its SHA-256 (`S256`)."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Vouched:
    """Somebody, as a provider knows them: an identity, which is never given to another, and a mail address, which may be."""

    identity: Identity
    mailbox: Mailbox | None


class NotVouched(Exception):
    """The provider was asked, and what it gave does not show who it is. `reason` is for the log, one word of a fixed list."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Provider(Protocol):
    """An identity provider. Every implementation passes `tests/contract/test_sign_in.py`."""

    @property
    def client(self) -> Client:
        """What we are to it."""

    async def authorization_url(self, attempt: Attempt, state: str) -> str:
        """Where to send the browser. Raises ``ProviderUnavailable``."""

    async def came_from(self, issuer: str | None) -> bool:
        """Whether an answer that names `issuer` as its sender can be this provider's (RFC 9207). Raises ``ProviderUnavailable``."""

    async def identify(self, code: str, attempt: Attempt) -> Vouched:
        """Who it is that was given `code`. Raises ``NotVouched`` and ``ProviderUnavailable``."""
