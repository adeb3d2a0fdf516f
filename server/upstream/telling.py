"""What the log is told of a model's calls, and how the model is as far as its circuit breaker knows."""

from server.dependencies import Outcome, State, tell_of_call

from .breaker import Breaker
from .failures import LLMFailure
from .patience import Call


def state_of(breaker: Breaker) -> State:
    """`connected`, `disconnected` while the breaker is not closed, and `unknown` before the model has ever answered."""
    if breaker.state != "closed":
        return "disconnected"
    return "connected" if breaker.ever_answered else "unknown"


def tell(
    dependency: str, operation: str, call: Call, outcome: Outcome, status: str | None, **more: str | None
) -> None:
    """Tell of one call that failed, took long, or had to be made again."""
    tell_of_call(
        dependency,
        operation,
        outcome,
        status=status,
        duration_ms=milliseconds(call.waited),
        upstream_request_id=call.upstream_request_id,
        retries=call.retries,
        **more,
    )


def tell_failed(dependency: str, operation: str, call: Call, failure: LLMFailure) -> None:
    """Tell of one call that failed."""
    tell(
        dependency,
        operation,
        call,
        "failed",
        failure.status,
        failure=failure.name,
        upstream_code=failure.code,
    )


def milliseconds(seconds: float) -> float:
    """As the log has them."""
    return round(seconds * 1e3, 3)
