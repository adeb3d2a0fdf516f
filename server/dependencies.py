"""What the server depends on, as the log tells of it: a call that went wrong or took long, and what went away or came back.

The database, the language model and whatever is added to them speak of themselves in the same two events, so that one look at the
log shows what was missing when.
"""

from typing import Literal

from pipeline.catalogue import Event, Field, declare
from pipeline.log import log

declare(
    [
        Event(
            "dependency_call",
            "WARNING",
            "A call to something that the server depends on failed, took long, or had to be made again; what went well leaves no event.",
            {
                "dependency": Field(
                    "`database`, `llm`, `embeddings`, `mail`, `redis`, or `oauth:` and the name of an identity provider"
                ),
                "operation": Field("what was asked of it"),
                "duration_ms": Field("milliseconds; of a model, those spent waiting for it"),
                "outcome": Field("`failed`, `slow`, or `retried`: it went well after it had failed"),
                "status": Field(
                    "its own code for the failure, such as `SQLITE_BUSY`, PostgreSQL's `57P01`, `POOL_EXHAUSTED`, `FIRST_TOKEN_TIMEOUT`, `HTTP_503` or `535 5.7.8`"
                ),
                "failure": Field("of a model: `timeout`, `unavailable`, `bad_response` or `cut_off`"),
                "upstream_code": Field(
                    "what it called the failure itself, such as `invalid_api_key`", free=True
                ),
                "upstream_request_id": Field(
                    "its own ID for the call; its operator will ask for it", free=True
                ),
                "retries": Field("how many times the call was made again"),
            },
        ),
        Event(
            "dependency_state_changed",
            "WARNING",
            "Something that the server depends on went away or came back.",
            {
                "dependency": Field("`database`, `llm`, `embeddings`, `mail` or `redis`"),
                "state": Field(
                    "`connected` or `disconnected`; a model is disconnected while its circuit breaker is open"
                ),
                "reason": Field(
                    "why: the type of the exception, `timeout`, or the status of the last failed call"
                ),
            },
        ),
    ]
)

Outcome = Literal["failed", "slow", "retried"]
State = Literal["connected", "disconnected", "unknown"]


def tell_of_call(
    dependency: str,
    operation: str,
    outcome: Outcome,
    *,
    status: str | None = None,
    duration_ms: float | None = None,
    **more: str | float | None,
) -> None:
    """Record a call that did not just go well; `more` are other fields of `dependency_call`."""
    log.warning(
        "dependency_call",
        dependency=dependency,
        operation=operation,
        duration_ms=duration_ms,
        outcome=outcome,
        status=status,
        **more,
    )


def tell_of_state(dependency: str, *, connected: bool, reason: str) -> None:
    """Record that a dependency went away or came back."""
    state = "connected" if connected else "disconnected"
    log.warning("dependency_state_changed", dependency=dependency, state=state, reason=reason)
