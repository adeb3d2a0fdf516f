"""Messages as files, for development: nobody receives them, and whoever has the folder can open them.

A file appears whole or not at all, and only its owner may read it: it holds a link that signs somebody in. The link is shown on the
terminal, if there is one, and nowhere else: never in the log.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from .carrier import Refused, Unreachable
from .message import Message, rendered

Show = Callable[[Message, Path], None]


class Folder:
    """Puts each message into `folder` as `<time>-<id>.eml`; `show`, if given, is told of it, in a thread."""

    mock = True
    available = True

    def __init__(self, folder: Path, sender: str, show: Show | None = None) -> None:
        self._folder = folder
        self._sender = sender
        self._show = show

    async def send(self, message: Message) -> str:
        """Write the file; its path."""
        at = datetime.now(UTC)
        try:
            mail = rendered(message, self._sender, at)
        except ValueError as error:
            raise Refused("message", type(error).__name__) from error
        name = f"{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03d}Z-{message.id}.eml"
        try:
            path = await asyncio.to_thread(self._write, name, mail)
        except OSError as error:
            raise Unreachable("write", type(error).__name__) from error
        if self._show is not None:
            with contextlib.suppress(OSError):  # The terminal may have gone; the file has not.
                await asyncio.to_thread(self._show, message, path)
        return str(path)

    def _write(self, name: str, mail: bytes) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / name
        draft = self._folder / f".{name}.new"
        draft.unlink(missing_ok=True)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(mail)
            return draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)


def show_on_terminal(message: Message, path: Path) -> None:
    """Say on standard error where the message lies, and its link, for whoever develops."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    console.print(f"  Mail to {_printable(message.to)}  {path}")
    if message.link:
        console.print(f"  Its link     {_printable(message.link)}")


def _printable(text: str) -> str:
    """`text` without what a terminal would act upon."""
    return "".join(character if character.isprintable() else "?" for character in text)
