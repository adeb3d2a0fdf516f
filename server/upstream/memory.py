"""What a language model has answered before, for who asks the very same.

The key is all that the model is told: the question, the passages, the turns before. So another passage, or a changed one, makes another
question of it, and nothing has to be thrown away when a document changes. Kept in this process, for a while, and never more than fits.
"""

import hashlib
import time
from collections.abc import Callable, Sequence

import orjson
from cachetools import TTLCache

from .completions import Message

ENTRY_BYTES = 300
"""What an entry takes beside its text, about."""


class Memory:
    """Answers of at most `size` bytes in all, each for `seconds`; 0 of either remembers nothing.

    `hits` and `misses` count what was asked of it.
    """

    def __init__(self, size: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept: TTLCache[bytes, str] | None = None
        if size and seconds:
            self._kept = TTLCache(size, seconds, timer=clock, getsizeof=_size)
        self.hits = 0
        self.misses = 0

    def recall(self, messages: Sequence[Message]) -> str | None:
        """What was answered to the same `messages`; None when that is not known."""
        if self._kept is None:
            return None
        text = self._kept.get(_key(messages))
        if text is None:
            self.misses += 1
        else:
            self.hits += 1
        return text

    def keep(self, messages: Sequence[Message], text: str) -> None:
        """Remember that `text` is the whole answer to `messages`."""
        if self._kept is not None and _size(text) <= self._kept.maxsize:
            self._kept[_key(messages)] = text


def _key(messages: Sequence[Message]) -> bytes:
    return hashlib.sha256(orjson.dumps(messages)).digest()


def _size(text: str) -> int:
    return len(text.encode()) + ENTRY_BYTES
