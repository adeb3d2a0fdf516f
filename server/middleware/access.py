"""The canonical event: exactly one `http_request` for every routed request, whatever happened to it.

It is log line and metric at once: the windows count what this says (see `pipeline.figures.windows`).
"""

import functools
import re
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from aiohttp import hdrs, web

from pipeline.catalogue import Event, Field, Observed, declare
from pipeline.context import bind, unbind
from pipeline.heartbeat import LoopLag
from pipeline.log import log
from pipeline.redact import scrub
from server.request import Handler

from .request_id import identify

_PROBES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
CLIENT_CLOSED_STATUS = 499
"""Logged for a client that left before its answer began; the number is nginx's, it is never sent."""


def _observe(fields: Mapping[str, Any]) -> Observed | None:
    """What the windows count: everything but the questions of those who watch (requirement D2)."""
    route = fields["route"]
    if route in _PROBES:
        return None
    status = fields["status"]
    failed = status >= 500 or fields["outcome"] == "server_error"
    return route, fields["duration_ms"], failed, status == 429


declare(
    [
        Event(
            "http_request",
            "INFO",
            "The canonical line of a request: one for each, written when it has ended. ERROR when the server failed.",
            {
                "method": Field("the method"),
                "route": Field("the route, as a template; `unmatched` for an unknown address"),
                "path": Field("the path without its query, searched for secrets"),
                "status": Field(
                    "the answer's status, also when the client left before it had come; 499 when it left before there was one"
                ),
                "outcome": Field(
                    "`ok`, `client_error`, `server_error`, `client_closed`, `aborted` (by a stop), `shed` (refused at once, in overload)"
                ),
                "duration_ms": Field("from the first middleware to the last byte handed over"),
                "bytes": Field("what was handed to the connection, headers included"),
                "client": Field("a keyed hash of the client's address"),
                "origin": Field("the `Origin` of a cross-origin request"),
                "ua_family": Field("what kind of client it was"),
                "session": Field("the session that was shown, by a name that opens nothing"),
                "session_refused": Field(
                    "`unauthorized` or `session_expired`, when the one that was shown does not hold"
                ),
                "tier": Field(
                    "the visitor's: 0 anonymous, 1 mail address verified, 2 signed in elsewhere, 3 premium"
                ),
                "inflight": Field("requests being served when this one came, itself included"),
                "loop_lag_ms": Field("how late the event loop last was"),
                "turn": Field("the turn that a question began or was found to have begun"),
                "attached": Field("whether it had begun before: the answer cost nothing"),
                "db_ms": Field("time in the database"),
                "db_calls": Field("how many times it was asked"),
                "retrieval_ms": Field("time to find passages"),
                "embedding": Field(
                    "how the meaning of a question was looked for: `asked` of the model, `remembered`, or not at all and why: `timeout`, "
                    "`unavailable`, `bad_response`, `cut_off`, `circuit_open`, or `no_vectors` where there are none yet; then words decided alone"
                ),
                "nearest": Field(
                    "the cosine of the question and the passage nearest to it; from `EMBEDDING_SIMILARITY` on it counts"
                ),
                "embedding_ms": Field("time spent waiting for the model that embeds"),
                "generation_ms": Field("time to make the answer"),
                "llm_ms": Field("time spent waiting for the language model"),
                "llm_first_token_ms": Field("how much of it until its first token"),
                "llm_retries": Field("how many times the call to it was made again"),
                "upstream_request_id": Field(
                    "the language model's own ID for the call, if it looks like one"
                ),
                "oauth_ms": Field("time waiting for an identity provider"),
                "first_token_ms": Field("from the request to the first token of a streamed answer"),
                "limit": Field("the policy that refused it as too often"),
                "limited_by": Field("whose limit that was: `user`, `session`, `address` or `email`"),
                "retry_after": Field("when such a request is let in again, seconds"),
                "limit_ms": Field("time to count it in Redis"),
                "error": Field("the fingerprint of the exception that made this fail"),
            },
            always=True,
            observe=_observe,
        )
    ]
)


class Meter:
    """What is going on right now, for who asks: requests in flight, and how late the loop is."""

    def __init__(self, lag: LoopLag) -> None:
        self.lag = lag
        self.inflight = 0


def access(meter: Meter, handler: Handler) -> Handler:
    """`handler`, with an ID for every request, and a record of how it ended."""

    async def recorded(request: web.Request) -> web.StreamResponse:
        began = perf_counter()
        served = identify(request)
        before = bind(served)
        meter.inflight += 1
        inflight, lag_ms = meter.inflight, meter.lag.last_ms
        response: web.StreamResponse | None = None
        outcome = "aborted"
        try:
            response = await handler(request)
            outcome = _outcome(response.status)
        except ConnectionError:
            outcome = "client_closed"
        finally:  # A cancelled handler, which only a stop that could not wait leaves, keeps the outcome `aborted`.
            meter.inflight -= 1
            sent = response if response is not None else served.started
            status = sent.status if sent is not None else CLIENT_CLOSED_STATUS
            headers = request.headers
            route = served.route
            fields = {
                "method": served.method,
                "route": route,
                "path": path_of(request, route),
                "status": status,
                "outcome": outcome,
                "duration_ms": int((perf_counter() - began) * 1e6) / 1000,
                "bytes": request.writer.output_size,
                "client": served.client,
                "ua_family": ua_family(headers.get(hdrs.USER_AGENT, "")),
                "inflight": inflight,
                "loop_lag_ms": lag_ms,
            }
            if (visitor := served.visitor) is not None:
                fields["tier"] = int(visitor.tier)
            if served.canonical:
                fields |= _rounded(served.canonical)
            if (origin := headers.get(hdrs.ORIGIN)) is not None:
                fields["origin"] = origin_of(origin)
            # A probe that says "unwell" has done what it is for; what is unwell has events of its own.
            failed = fields["outcome"] == "server_error" and not is_probe(route)
            log.record("ERROR" if failed else "INFO", "http_request", fields)
            unbind(before)
        # The client is gone; what is returned here is never sent.
        return sent if sent is not None else web.Response(status=status)

    return recorded


def is_probe(route: str) -> bool:
    """Whether a route is there for those who watch, not for visitors."""
    return route in _PROBES


def path_of(request: web.Request, route: str) -> str:
    """The path as it was sent, without query and secrets; the usual path is its own template and need not be searched."""
    return route if request.raw_path == route else scrub(request.rel_url.raw_path[:2_000])


def _rounded(noted: Mapping[str, Any]) -> dict[str, Any]:
    """What services noted; what they added up is rounded like the rest, to the microsecond."""
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in noted.items()}


def _outcome(status: int) -> str:
    if status < 400:
        return "ok"
    return "client_error" if status < 500 else "server_error"


_ORIGIN = re.compile(r"(?:https?|chrome-extension|moz-extension)://[\w.:\[\]-]{1,255}|null", re.ASCII)


@functools.lru_cache(maxsize=1024)
def origin_of(value: str) -> str:
    """An `Origin` fit for the log: what does not look like one is only called `invalid`."""
    return value if _ORIGIN.fullmatch(value) else "invalid"


_FAMILIES = (
    ("bot", "Bot"),
    ("spider", "Bot"),
    ("crawl", "Bot"),
    ("headlesschrome", "HeadlessChrome"),
    ("edg/", "Edge"),
    ("opr/", "Opera"),
    ("firefox/", "Firefox"),
    ("chrome/", "Chrome"),
    ("safari/", "Safari"),
    ("curl/", "curl"),
    ("wget/", "Wget"),
    ("prometheus/", "Prometheus"),
    ("python", "Python"),
    ("kube-probe/", "kube-probe"),
)


@functools.lru_cache(maxsize=1024)
def ua_family(user_agent: str) -> str:
    """A word for what kind of client this is; the user agent itself is never logged."""
    lowered = user_agent[:512].lower()
    return next((family for mark, family in _FAMILIES if mark in lowered), "other" if lowered else "none")
