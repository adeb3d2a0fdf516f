"""More than can be done: what comes is refused at once, so that what was begun is finished in good time.

Each kind of work may be going on so many times at a time in each worker. New questions are also refused while the event loop is late,
whatever makes it so. Who is refused hears 503 and when to come back, before the body is read or anything is counted; the pause is
drawn, or all of them would be back in the same second. Health, metrics, pages and session checks are never refused here: they are
cheap, and needed most just then.

Who has not sent all of their question holds no place, or a few dozen slow senders could keep everybody out. So there can be some more than
the bound says, when the bodies of several come after all.
"""

import random
import time
from collections.abc import Callable, Mapping

from aiohttp import web

from pipeline.catalogue import Event, Field, declare
from pipeline.context import note
from pipeline.heartbeat import LoopLag
from pipeline.log import log
from server.errors import ServiceUnavailable
from server.limits.policy import Work
from server.request import Handler

declare(
    [
        Event(
            "overload_began",
            "WARNING",
            "More was asked than can be done: from here on some requests are refused at once with 503.",
            {
                "work": Field("the kind of work that was refused first"),
                "reason": Field("`inflight`: so many were going on; `loop_lag`: the event loop was late"),
                "inflight": Field("how many of the kind were going on"),
                "loop_lag_ms": Field("how late the event loop was, again and again"),
            },
        ),
        Event(
            "overload_ended",
            "INFO",
            "For some seconds nothing had to be refused any more.",
            {
                "shed": Field("how many requests were refused"),
                "seconds": Field("from the first of them to the last"),
            },
        ),
    ]
)

LAG_BEGINS_MS = 250.0
LAG_ENDS_MS = 100.0
"""Below this the loop is well again; between the two it is what it was, or every other request would be refused."""

OTHERS_AT_ONCE = 32
"""How many of each other limited kind of work may be going on; each is a short write to the database."""

RETRY_SECONDS = (2, 6)
CALM_SECONDS = 5.0
"""An overload has ended when nothing was refused for so long."""


class _GoingOn:
    """The requests for one kind of work that are being served."""

    def __init__(self) -> None:
        # By identity: aiohttp's requests cannot be in a set.
        self._coming: dict[int, web.Request] = {}
        self._come: set[int] = set()

    def __len__(self) -> int:
        return len(self._coming) + len(self._come)

    def add(self, request: web.Request) -> None:
        self._coming[id(request)] = request

    def remove(self, request: web.Request) -> None:
        if self._coming.pop(id(request), None) is None:
            self._come.remove(id(request))

    def have_come(self) -> int:
        """Of how many all of the body is here. Each is looked at until it is, and not again: this is asked at every refusal."""
        for key in [key for key, request in self._coming.items() if request.content.is_eof()]:
            del self._coming[key]
            self._come.add(key)
        return len(self._come)


class Overload:
    """Knows what is going on, and what is too much. `at_once` says how many of each kind of work may; one not named may always."""

    def __init__(
        self, lag: LoopLag, at_once: Mapping[Work, int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lag = lag
        self._at_once = at_once
        self._clock = clock
        self._going_on = {work: _GoingOn() for work in at_once}
        self._late = False
        self._shed = 0
        self._began = self._last = 0.0

    @classmethod
    def of_questions(cls, lag: LoopLag, questions: int) -> "Overload":
        """With room for so many `questions`, and the usual for the rest."""
        others = dict.fromkeys((Work.SAVE, Work.PERSONALIZE, Work.SIGN_UP), OTHERS_AT_ONCE)
        return cls(lag, {Work.CHAT: questions, **others})

    def guard(self, handler: Handler, work: Work) -> Handler:
        """`handler`, asked only while there is room for that `work`."""
        at_once = self._at_once.get(work)
        if at_once is None:
            return handler
        going_on = self._going_on[work]

        async def admitted(request: web.Request) -> web.StreamResponse:
            if len(going_on) >= at_once and going_on.have_come() >= at_once:
                raise self._refusal(work, "inflight")
            if work is Work.CHAT and self._is_late():
                raise self._refusal(work, "loop_lag")
            going_on.add(request)
            try:
                return await handler(request)
            finally:
                going_on.remove(request)

        return admitted

    def look(self) -> None:
        """Say that it is over when it is; asked each second."""
        if self._shed and self._clock() - self._last >= CALM_SECONDS:
            shed, seconds = self._shed, round(self._last - self._began, 1)
            self._shed = 0
            log.info("overload_ended", shed=shed, seconds=seconds)

    def _is_late(self) -> bool:
        self._late = self._lag.lasting_ms > (LAG_ENDS_MS if self._late else LAG_BEGINS_MS)
        return self._late

    def _refusal(self, work: Work, reason: str) -> ServiceUnavailable:
        self._last = self._clock()
        if not self._shed:
            self._began = self._last
            log.warning(
                "overload_began",
                work=work.value,
                reason=reason,
                inflight=self._going_on[work].have_come(),
                loop_lag_ms=self._lag.lasting_ms,
            )
        self._shed += 1
        note(outcome="shed")
        return ServiceUnavailable(
            "Very much is being asked just now. Please try again in a few seconds.",
            retry_after=random.randint(*RETRY_SECONDS),  # noqa: S311 - nobody has to be unable to guess it
        )
