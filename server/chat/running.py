"""An answer in the making: one writes it, any number follow, each from where it is, and all see the same."""

import asyncio
from collections.abc import AsyncGenerator

from server.errors import ChatKitError

from .answer import Cited, Text
from .models import Metadata
from .service import Finished, Piece


class Running:
    """What is known of an answer, and who waits for more.

    It ends with `metadata`, once it is whole, or with `error`. `followers` is how many wait for it; `shown` is whether any of its text has
    been told to one of them who shows it as it comes.
    """

    def __init__(self) -> None:
        self.cited: Cited | None = None
        self.text = ""
        self.metadata: Metadata | None = None
        self.error: ChatKitError | None = None
        self.followers = 0
        self.shown = False
        self._more = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.metadata is not None or self.error is not None

    def cite(self, cited: Cited) -> None:
        """Say what it rests on."""
        self.cited = cited
        self._tell()

    def add(self, text: str) -> None:
        """Write on."""
        self.text += text
        self._tell()

    def begin_anew(self) -> None:
        """Forget what was written, of which nothing was shown."""
        self.text = ""

    def end(self, *, metadata: Metadata | None = None, error: ChatKitError | None = None) -> None:
        """Say that it is whole, or why it ends."""
        self.metadata, self.error = metadata, error
        self._tell()

    def _tell(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    async def follow(self, after: int | None) -> AsyncGenerator[Piece]:
        """The answer from its character `after` on, as it comes; with its sources for None, which is from the beginning.

        Raises the error with which it ends.
        """
        told, at = after is not None, after or 0
        self.followers += 1
        try:
            while True:
                more = self._more
                if self.cited is not None and not told:
                    told = True
                    yield self.cited
                elif len(self.text) > at:
                    text, at = self.text[at:], len(self.text)
                    self.shown = True
                    yield Text(text)
                elif self.error is not None:
                    raise self.error
                elif self.metadata is not None:
                    yield Finished(self.metadata)
                    return
                else:
                    await more.wait()
        finally:
            self.followers -= 1

    async def wait(self) -> None:
        """Return when nothing more will come. Raises the error with which it ends."""
        self.followers += 1
        try:
            while not self.ended:
                await self._more.wait()
        finally:
            self.followers -= 1
        if self.error is not None:
            raise self.error
