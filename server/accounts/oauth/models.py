"""What goes over the wire when somebody signs in with an identity provider."""

from pydantic import ConfigDict, Field

from server.accounts.models import TOKEN_LIMIT
from server.models import Body, PageUrl, Reply


class ProviderName(Reply):
    """An identity provider, by its name in addresses and by the one for people."""

    id: str = Field(examples=["google"], description="`google`, `microsoft`, `github` or `oidc`.")
    name: str = Field(examples=["Google"], description="What a button says.")


class Providers(Reply):
    """With which providers one can sign in here."""

    providers: list[ProviderName] = Field(description="In the order in which they are to be shown.")


class StartRequest(Body):
    """Somebody wants to sign in with a provider."""

    consent: bool = Field(
        False, description="Whether they agree to have an account; must be true.", examples=[True]
    )
    page_url: PageUrl | None = Field(
        None,
        description="The page to which the browser comes back: of a site that may embed the widget. Without one it is this server's own.",
        examples=["https://www.example.com/help"],
    )
    link: bool = Field(
        False,
        description="Whether to add the provider to the account whose session is shown, whatever address the provider tells of.",
    )


class Started(Reply):
    """Where to go, and what to keep until one is back."""

    authorization_url: str = Field(
        description="Where to send the browser.", examples=["https://accounts.example.com/authorize?…"]
    )
    flow: str = Field(
        description="The secret of this sign-in. Keep it in the page's `sessionStorage`; never put it into an address.",
        examples=["ckf_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"],
    )
    expires_in: int = Field(description="How long one may take at the provider, in seconds.", examples=[600])


class FinishRequest(Body):
    """The browser is back."""

    token: str = Field(
        min_length=1,
        max_length=TOKEN_LIMIT,
        description="What stands behind `#chatkit-oauth=` in the address of the page.",
        examples=["cko_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"],
    )
    flow: str = Field(
        min_length=1,
        max_length=TOKEN_LIMIT,
        description="The secret that was kept.",
        examples=["ckf_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"],
    )


class CallbackQuery(Body):
    """With what a provider sends a browser back (RFC 6749, section 4.1.2, and RFC 9207). It may add more, which is ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    state: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$", description="As it was sent there.")
    code: str | None = Field(
        None, pattern=r"^[\x20-\x7e]{1,4096}$", description="Shows the provider, once, who it was."
    )
    error: str | None = Field(None, max_length=256, description="What went wrong, instead.")
    iss: str | None = Field(None, max_length=2048, description="Which provider it is.")
