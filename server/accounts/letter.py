"""The letter with the link that lets its reader in.

It is written, and its token made, just before each attempt to send it: the token lies in no table, not even while the mail server is
away, and its ten minutes begin when it can be read. In the link it stands behind `#`, so that it is sent to no server and stands in no log.
Nothing is done by fetching the link, as mail scanners do: a `POST` spends the token.
"""

from collections.abc import Callable
from urllib.parse import urldefrag, urlsplit

from server.clock import MINUTE, Clock
from server.mail.message import Message
from server.mail.outbox import Composer, Letter
from server.store import accounts
from server.store.engine import Store

from .tokens import Digester, Purpose, minted

KIND = "sign_in"
"""The kind of the letter, see `server.mail.outbox`."""
LINK_MS = 10 * MINUTE
"""How long a link in a letter can be used."""
FRAGMENT = "chatkit-sign-in"
"""What stands before the token in a link; the widget looks for it."""


def composer(store: Store, digester: Digester, clock: Clock, site: Callable[[], str]) -> Composer:
    """Writes the letters; `site` tells where visitors reach this server, where a link leads that is to lead nowhere else."""

    async def compose(letter: Letter) -> Message | None:
        """The letter; None when it is not wanted any more. A letter that was sent twice has two tokens, and either lets in, once."""
        token = minted(Purpose.VERIFICATION)
        async with store.writing("arm_verification", durable=True) as connection:
            asked = await accounts.verification(connection, verification_id=letter.subject_id)
            if asked is None or asked.spent_at is not None:
                return None
            digest = digester.digest(token, Purpose.VERIFICATION)
            await accounts.arm(connection, asked.id, digest, clock() + LINK_MS)
        if asked.consented_at is None:
            return None  # Nobody ever agreed to letters at this address.
        page = urldefrag(asked.page_url or f"{site()}/").url
        return _written(asked.email, f"{page}#{FRAGMENT}={token}", urlsplit(page).netloc)

    return compose


def _written(to: str, link: str, site: str) -> Message:
    return Message(
        to=to,
        subject=f"Sign in to the chat on {site}",
        text=(
            f"Somebody, hopefully you, asked to sign in to the chat on {site}.\n\n"
            f"Open this link within {LINK_MS // MINUTE} minutes, in the browser in which you want to chat:\n\n{link}\n\n"
            "It works once. If it was not you, there is nothing to do: without this link nobody gets in.\n"
        ),
        link=link,
    )
