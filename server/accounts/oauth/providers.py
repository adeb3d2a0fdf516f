"""The identity providers, as data: who they are, what we are to them, and how far their word on a mail address goes.

An address that a provider tells of is of use in two ways, and the second asks for more than the first:

- `verified`: at some time its owner has shown to be that, there. A letter of ours shows no more, so it is enough to make an account.
- `authoritative`: the provider itself runs the mailbox, or answers for the domain, so whoever it lets in is who would read our letter
  today. Only that opens an account which somebody made before.

What each says:

    Google      `email_verified`; authoritative for gmail.com and for the domain of a Workspace (`hd`)
                https://developers.google.com/identity/gsi/web/guides/verify-google-id-token
    Microsoft   `xms_edov`, an optional claim that the app registration has to ask for: without it anybody who runs a tenant can write any
                address into `email`; authoritative for the mailboxes of personal accounts
                https://learn.microsoft.com/entra/identity-platform/migrate-off-email-claim-authorization
    GitHub      the primary address, if it is verified; never authoritative
    any other   `email_verified`; authoritative for the domains that the operator names
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
"""How an ID token may be signed: with a key of which we know only the public half. Never by what the token itself asks for."""

GITHUB = "https://github.com"
_GMAIL = frozenset({"gmail.com", "googlemail.com"})
_OUTLOOK = frozenset({"hotmail.com", "live.com", "msn.com", "outlook.com"})
_PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of all personal accounts at Microsoft."""


class Mailbox(NamedTuple):
    """A mail address as a provider tells it, and how far its word goes; see above."""

    address: str
    verified: bool
    authoritative: bool


Claims = Mapping[str, Any]
Told = Callable[[Claims], Mailbox | None]
"""What a provider's claims say of a mail address; None when they tell of none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What we are to one provider. `id` is its name in addresses, tables and the log, `name` the one for people.

    `asks_which` has the provider ask which account it is to be, also when somebody is signed in there: so nobody is led through by a link
    without noticing, and who shares a computer can choose. Not every provider knows how to.
    """

    id: str
    name: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str
    asks_which: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIDClient(Client):
    """A client of a provider that publishes at its `issuer` how it is used (OpenID Connect Discovery 1.0)."""

    scope: str = "openid email"
    issuer: str
    algorithms: Collection[str] = ALGORITHMS
    mailbox: Told


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubClient(Client):
    """A client of GitHub, or of a GitHub Enterprise Server at `site`: OAuth 2 alone, so who it is has to be asked."""

    scope: str = "user:email"
    asks_which: bool = True
    site: str = GITHUB

    @property
    def api(self) -> str:
        """Where its REST API is."""
        return "https://api.github.com" if self.site == GITHUB else f"{self.site}/api/v3"


def google(client_id: str, client_secret: str) -> OpenIDClient:
    """Google accounts, Workspace or not."""
    return OpenIDClient(
        id="google",
        name="Google",
        client_id=client_id,
        client_secret=client_secret,
        issuer="https://accounts.google.com",
        algorithms=("RS256",),
        asks_which=True,
        mailbox=_of_google,
    )


def microsoft(client_id: str, client_secret: str, tenant: str = "common") -> OpenIDClient:
    """Microsoft accounts: of one `tenant` by its ID, of `organizations`, of `consumers`, or `common` for all."""
    return OpenIDClient(
        id="microsoft",
        name="Microsoft",
        client_id=client_id,
        client_secret=client_secret,
        issuer=f"https://login.microsoftonline.com/{tenant}/v2.0",
        algorithms=("RS256",),
        asks_which=True,
        mailbox=_of_microsoft,
    )


def github(client_id: str, client_secret: str, site: str = GITHUB) -> GitHubClient:
    """GitHub accounts."""
    return GitHubClient(
        id="github", name="GitHub", client_id=client_id, client_secret=client_secret, site=site
    )


def openid(
    issuer: str, client_id: str, client_secret: str, name: str, domains: Collection[str] = ()
) -> OpenIDClient:
    """Any other OpenID provider, which answers for the mail addresses of `domains`."""
    answers_for = frozenset(domain.lower() for domain in domains)

    def mailbox(claims: Claims) -> Mailbox | None:
        return _mailbox(claims, _says_verified(claims), lambda domain: domain in answers_for)

    return OpenIDClient(
        id="oidc",
        name=name,
        client_id=client_id,
        client_secret=client_secret,
        issuer=issuer,
        mailbox=mailbox,
    )


def _of_google(claims: Claims) -> Mailbox | None:
    runs_it = isinstance(claims.get("hd"), str) and bool(claims["hd"])
    return _mailbox(claims, _says_verified(claims), lambda domain: runs_it or domain in _GMAIL)


def _of_microsoft(claims: Claims) -> Mailbox | None:
    # It comes as true, 1 or "1", by the kind of account.
    verified = claims.get("xms_edov") in {True, "1", "true"} if _is_plain(claims.get("xms_edov")) else False
    personal = claims.get("tid") == _PERSONAL
    return _mailbox(claims, verified, lambda domain: personal and domain in _OUTLOOK)


def _mailbox(claims: Claims, verified: bool, runs: Callable[[str], bool]) -> Mailbox | None:  # noqa: FBT001
    address = claims.get("email")
    if not isinstance(address, str) or not address:
        return None
    domain = address.rpartition("@")[2].lower()
    return Mailbox(address, verified, verified and runs(domain))


def _says_verified(claims: Claims) -> bool:
    # A boolean by the specification; some write it as a text.
    said = claims.get("email_verified")
    return said is True or said == "true"


def _is_plain(value: object) -> bool:
    return isinstance(value, (bool, int, str))
