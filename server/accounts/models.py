"""What goes over the wire about people: who asks to be let in, and how it stands."""

from typing import Literal

from pydantic import Field

from server.models import ID_FORM, Body, PageUrl, Reply

TOKEN_LIMIT = 128

_EMAIL = Field(description="A mail address.", examples=["visitor@example.com"])
_PAGE_URL = Field(
    None,
    description="The page that the link in the letter leads back to: of a site that may embed the widget. "
    "Without one it leads to this server's own page.",
    examples=["https://www.example.com/help"],
)


class SignUpRequest(Body):
    """Somebody asks to sign up, or in."""

    email: str = _EMAIL
    consent: bool = Field(
        False,
        description="Whether its owner agrees to get letters and to have an account; must be true.",
        examples=[True],
    )
    page_url: PageUrl | None = _PAGE_URL


class ResendRequest(Body):
    """The letter has not come, or its link is no longer valid."""

    email: str = _EMAIL
    page_url: PageUrl | None = _PAGE_URL


class Pending(Reply):
    """A letter is on its way: the same answer whether or not there is an account."""

    state: Literal["verification_pending"] = "verification_pending"
    verification_id: str = Field(
        description="Asks how it stands, see `GET /api/v1/auth/verification-status`; opens nothing.",
        examples=["3f0c8f0e8a3f4f6e9a550d3c5c8a1f11"],
    )
    expires_in: int = Field(description="How long the link can be used, in seconds.", examples=[600])


class VerifyRequest(Body):
    """The token of a link, to be spent."""

    token: str = Field(
        min_length=1,
        max_length=TOKEN_LIMIT,
        description="What stands behind `#chatkit-sign-in=` in the link.",
        examples=["ckv_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"],
    )


class SessionReply(Reply):
    """A session that has just begun."""

    state: Literal["logged_in", "anonymous"]
    token: str = Field(
        description="Shown from now on as `Authorization: Bearer …`. It is told once; keep it.",
        examples=["cks_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"],
    )
    tier: int = Field(
        ge=0, le=3, description="0 anonymous, 1 mail address verified, 2 signed in elsewhere, 3 premium."
    )
    email: str | None = Field(description="The account's address; null for an anonymous visitor.")
    expires_at: str = Field(
        description="When it ends, ISO 8601 in UTC.", examples=["2026-01-02T12:34:56.789Z"]
    )
    expires_in: int = Field(ge=0, description="The same in seconds from now.", examples=[86400])


class SessionState(Reply):
    """How it stands with the session that was shown. `anonymous` is also who shows none."""

    state: Literal["anonymous", "logged_in", "expired"]
    tier: int = Field(
        ge=0, le=3, description="0 anonymous, 1 mail address verified, 2 signed in elsewhere, 3 premium."
    )
    email: str | None = Field(description="The account's address; null for an anonymous visitor.")
    expires_at: str | None = Field(
        description="When it ends, ISO 8601 in UTC; null when there is none.",
        examples=["2026-01-02T12:34:56.789Z"],
    )
    expires_in: int = Field(ge=0, description="The same in seconds from now.", examples=[86400])


class StatusQuery(Body):
    """Which verification is meant."""

    verification_id: str = Field(
        pattern=ID_FORM,
        description="As `POST /api/v1/auth/signup` gave it.",
        examples=["3f0c8f0e8a3f4f6e9a550d3c5c8a1f11"],
    )


class VerificationState(Reply):
    """How it stands with a verification."""

    state: Literal["pending", "verified", "expired"] = Field(
        description="`pending`: the letter is on its way or its link can be used. `verified`: somebody came with it; whoever that was has the "
        "session. `expired`: ask for another letter."
    )


class MigrateRequest(Body):
    """Which anonymous session moves."""

    session: str = Field(
        min_length=1,
        max_length=TOKEN_LIMIT,
        description="The anonymous visitor's token.",
        examples=["cka_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"],
    )


class Migrated(Reply):
    """What moved."""

    conversations: int = Field(ge=0, description="How many conversations are the account's now.")


class LoggedOut(Reply):
    """The session that was shown has ended."""

    state: Literal["anonymous"] = "anonymous"
