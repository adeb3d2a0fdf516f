"""How long an upstream is waited for, and one call as far as it has come.

Only the time spent waiting counts: what a visitor takes to read is not the upstream's fault.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

from .failures import LLMTimeout

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a model, in seconds: to connect, for the first token, between two of them, and in all."""

    connect: float = 5.0
    first_token: float = 15.0
    between_tokens: float = 10.0
    total: float = 60.0

    @property
    def to_begin(self) -> float:
        """For the first token, in seconds, retries included."""
        return min(self.first_token, self.total)


@dataclass(slots=True)
class Call:
    """One call under way.

    `waited` and `first_token` are seconds spent waiting: so far, and until the first token. `failed_with` is what it was made again
    for; `done` says that the upstream has said that it has ended.
    """

    patience: Patience
    waited: float = 0.0
    first_token: float | None = None
    retries: int = 0
    failed_with: str | None = None
    upstream_request_id: str | None = None
    done: bool = False
    _since_token: float = field(default=0.0, repr=False)

    async def wait(self, what: Awaitable[T]) -> T:
        """The result of `what`, if it comes in time. Raises ``LLMTimeout``."""
        seconds, status = self._left()
        began = perf_counter()
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                return await what
        except TimeoutError:
            raise LLMTimeout(status) from None
        finally:
            took = perf_counter() - began
            self.waited += took
            self._since_token += took

    def _left(self) -> tuple[float, str]:
        """How many seconds the next thing may take, and which bound that is."""
        if self.first_token is None:
            one = self.patience.first_token - self.waited, "FIRST_TOKEN_TIMEOUT"
        else:
            one = self.patience.between_tokens - self._since_token, "BETWEEN_TOKENS_TIMEOUT"
        return min(one, (self.patience.total - self.waited, "TOTAL_TIMEOUT"))

    def token(self) -> None:
        """A token has come."""
        self._since_token = 0.0
        if self.first_token is None:
            self.first_token = self.waited
