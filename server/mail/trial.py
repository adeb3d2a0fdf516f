"""A letter with which whoever runs the server sees whether mail arrives: `python -m server mail ADDRESS` puts one into the outbox.

It goes the way of every letter, through the running server and its settings.
"""

from collections.abc import Callable

from server.store.outbox import Letter

from .delivery import Composer
from .message import Message

KIND = "trial"


def composer(url: Callable[[], str]) -> Composer:
    """Writes the letter; `url` tells where the server is reached."""

    async def compose(letter: Letter) -> Message:
        text = (
            "This is a test. Somebody who runs ChatKit asked for it, to see whether mail arrives, and it does.\n\n"
            f"It was sent by {url()}\n\n"
            f"Reference ID: {letter.request_id}\n"
        )
        return Message(letter.to, "ChatKit: mail arrives", text, link=url())

    return compose
