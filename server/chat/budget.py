"""How many tokens a language model may be paid for: in a day, and in a conversation.

What was paid for is counted in the database, by all workers together. It is written in the background, so an answer never waits for
that; what is not written yet counts all the same. Answers under way are not counted yet, so the model is not asked while they could fill
what is left, as far as this process knows of them: the bound may be passed by the last answer of each worker, and by no more.

A budget that cannot be read is taken to be as it was when it last could be.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log
from server.dependencies import tell_of_call
from server.errors import ServiceUnavailable
from server.store import forgetting, usage
from server.store.engine import Store

declare(
    [
        Event(
            "llm_budget_spent",
            "WARNING",
            "No more tokens may be paid for: until the day ends, or in this conversation, passages are told instead of a model's answers.",
            {
                "scope": Field("`day` or `conversation`"),
                "tokens": Field("how many were paid for"),
                "budget": Field("how many may be"),
            },
        )
    ]
)

KEPT_DAYS = 40
LINGER_SECONDS = 0.2
"""How long what was spent waits for more before it is written."""

Scope = Literal["day", "conversation"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Tokens, in a day (of UTC) and in a conversation; 0 is no bound."""

    day: int = 0
    conversation: int = 0


def _now() -> datetime:
    return datetime.now(UTC)


class Budget:
    """What may be spent, in one process; `close` writes what is not written yet."""

    def __init__(self, store: Store, bounds: Bounds, clock: Callable[[], datetime] = _now) -> None:
        self._store = store
        self._bounds = bounds
        self._clock = clock
        self._known: dict[str, int] = {}
        self._unwritten: Counter[str] = Counter()
        self._under_way = Counter[str]()  # tokens, of all answers ("") and by conversation
        self._writing: asyncio.Task[None] | None = None
        self._told: set[str] = set()
        self._tidied = ""

    async def spent(self, conversation: str | None) -> Scope | None:
        """Whether nothing is left to spend, and of what; None when something is."""
        bounds: dict[Scope, tuple[str, int]] = {}
        if self._bounds.day:
            bounds["day"] = self._day(), self._bounds.day
        if self._bounds.conversation and conversation is not None:
            bounds["conversation"] = _conversation(conversation), self._bounds.conversation
        if not bounds:
            return None
        with self._forgiven("read_llm_usage"):
            self._known = await usage.read(self._store, [scope for scope, _ in bounds.values()])
        for name, (scope, bound) in bounds.items():
            tokens = self._known.get(scope, 0) + self._unwritten[scope]
            under_way = self._under_way["" if name == "day" else scope]
            if tokens + under_way >= bound:
                self._tell(name, scope, tokens, bound)
                return name
        return None

    @contextmanager
    def reserved(self, tokens: int, conversation: str | None) -> Iterator[None]:
        """Within the block an answer is under way that may take so many tokens."""
        scopes = ["", *([_conversation(conversation)] if conversation is not None else [])]
        self._under_way.update(dict.fromkeys(scopes, tokens))
        try:
            yield
        finally:
            self._under_way.subtract(dict.fromkeys(scopes, tokens))
            self._under_way += Counter()  # what is 0 is not kept

    def spend(self, tokens: int, conversation: str | None) -> None:
        """Count `tokens`."""
        if not tokens:
            return
        self._unwritten[self._day()] += tokens
        if conversation is not None:
            self._unwritten[_conversation(conversation)] += tokens
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_soon(), name="llm-usage")

    async def close(self) -> None:
        """Write what is not written yet."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._write()

    async def _write_soon(self) -> None:
        while self._unwritten:
            await asyncio.sleep(LINGER_SECONDS)
            if not await self._write():
                break  # The next answer tries again.
        self._writing = None

    async def _write(self) -> bool:
        """Whether all that was spent so far is in the database."""
        tokens, self._unwritten = self._unwritten, Counter()
        written = not tokens
        try:
            with self._forgiven("add_llm_usage"):
                if tokens:
                    await usage.add(self._store, tokens, _stamp(self._clock()))
                written = True
                await self._tidy()
        finally:
            if not written:
                self._unwritten += tokens
        return written

    @staticmethod
    @contextmanager
    def _forgiven(operation: str) -> Iterator[None]:
        """Within the block nothing that goes wrong with the database breaks anything else."""
        try:
            yield
        except ServiceUnavailable:
            pass  # The store has told of it.
        except Exception as error:
            tell_of_call("database", operation, "failed", status=type(error).__name__)

    async def _tidy(self) -> None:
        """Once a day, forget what is too old to count."""
        if (today := self._day()) != self._tidied:
            await forgetting.usage(self._store, _stamp(self._clock() - timedelta(days=KEPT_DAYS)))
            self._tidied = today

    def _day(self) -> str:
        return f"day:{self._clock().astimezone(UTC):%Y-%m-%d}"

    def _tell(self, name: Scope, scope: str, tokens: int, bound: int) -> None:
        """Once for each scope; of conversations, only the last thousand are remembered."""
        if scope not in self._told:
            if len(self._told) > 1_000:
                self._told.clear()
            self._told.add(scope)
            log.warning("llm_budget_spent", scope=name, tokens=tokens, budget=bound)


def _conversation(conversation: str) -> str:
    return f"conversation:{conversation[:128]}"


def _stamp(moment: datetime) -> str:
    """A moment as in the log."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
