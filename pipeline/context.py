"""What every event carries without being told: the request it belongs to.

A `Request` is put in a context variable for the time it is served. Tasks, `asyncio.to_thread` and the loop's default
executor (`ContextExecutor`) inherit it; a thread or an executor of one's own is handed it with `carry`. It is not taken over
by every new thread, because a pool's thread outlives the request that happened to start it, and a wrong ID is worse
than none.

`note` and `measure` add to the one canonical event with which a request ends.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from .checksum import hash_of
from .record import text

P = ParamSpec("P")
R = TypeVar("R")
Served = TypeVar("Served", bound="Request")


class Request:
    """One request being served: its IDs, and what its canonical event will say beside the usual.

    `trace_id` and `span_id` are those of a W3C `traceparent`, 32 and 16 lower-case hex digits, or None. `head` and `trace` are the IDs as
    they stand in every line of the request; whoever knows that an ID needs no escape gives its `head`. `hash` is what an index knows the
    request by.
    """

    # One is made for every request, so what most of them never get is not set for each.
    trace_id: str | None = None
    span_id: str | None = None
    trace = ""
    canonical: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, request_id: str, head: str = "") -> None:
        self.request_id = request_id
        self.head = head = head or text(request_id)
        self.hash = hash_of(head[1:-1].encode())

    def traced(self, trace_id: str, span_id: str | None) -> None:
        """Say which trace the request belongs to."""
        self.trace_id, self.span_id = trace_id, span_id
        span = "null" if span_id is None else text(span_id)
        self.trace = f',"trace_id":{text(trace_id)},"span_id":{span}'


_current: ContextVar[Request | None] = ContextVar("chatkit_request", default=None)

current = _current.get
"""The request that this code serves, or None."""


bind = _current.set
"""Serve a request from here on; what is returned is for `unbind`."""

unbind = _current.reset
"""Serve again what was served before `bind`."""


@contextmanager
def bound(request: Served) -> Iterator[Served]:
    """Serve `request` within the block."""
    token = bind(request)
    try:
        yield request
    finally:
        unbind(token)


def note(**fields: Any) -> None:
    """Set `fields` of the canonical event; outside a request it does nothing."""
    if (request := _current.get()) is not None:
        request.canonical = {**request.canonical, **fields}


def measure(**amounts: float) -> None:
    """Add `amounts` (milliseconds, counts) to those fields of the canonical event; outside a request it does nothing."""
    if (request := _current.get()) is not None:
        before = request.canonical
        added = {name: before.get(name, 0) + amount for name, amount in amounts.items()}
        request.canonical = {**before, **added}


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, run in this context wherever it is called: for threads and executors of one's own."""
    context = copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A context can be entered once at a time; the copy lets one carried function run in several threads.
        return context.copy().run(function, *args, **kwargs)

    return carried


class ContextExecutor(ThreadPoolExecutor):
    """A thread pool that carries the caller's context, which `loop.run_in_executor` alone does not."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """`fn(*args, **kwargs)` in a thread, in the caller's context."""
        return super().submit(copy_context().run, fn, *args, **kwargs)
