"""What all workers have asked of the models, and need not ask: as JSON, and for Prometheus."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aiohttp import web

from pipeline.figures.windows import percent
from server.dependencies import State
from server.upstream.breaker import Breaker

if TYPE_CHECKING:
    from prometheus_client import Metric


class Model(Protocol):
    """One that writes answers, or one that embeds."""

    breaker: Breaker

    @property
    def state(self) -> State:
        """How it is, as far as this process knows."""

    def figures(self) -> Mapping[str, float]:
        """What this process publishes of it, by the names of `pipeline.figures.file.PUBLISHED`."""


class Kind(NamedTuple):
    """What a kind of model is called, with what its published figures begin, and what they count."""

    name: str
    prefix: str
    counts: Mapping[str, str]


KINDS = {
    "llm": Kind(
        "the language model",
        "llm",
        {
            "calls": "Calls to the language model.",
            "failures": "Calls to it that failed.",
            "retries": "Calls to it that were made again.",
            "tokens": "Tokens that it was paid for.",
            "degraded": "Answers that it should have written and did not, or not to their end.",
            "cache_hits": "Answers that it had written before, and was not asked for again.",
            "cache_misses": "Answers that were looked for among those, and were not there.",
        },
    ),
    "embeddings": Kind(
        "the model that embeds",
        "embedding",
        {
            "calls": "Calls to the model that embeds, for questions.",
            "failures": "Calls to it that failed.",
            "cache_hits": "Questions whose vector was remembered.",
            "cache_misses": "Questions whose vector was not.",
        },
    ),
}

MODELS = web.AppKey("models", dict[str, Model])
"""Those that are asked, by their kind."""


def as_json(kind: str, model: Model, workers: Mapping[str, float]) -> dict[str, Any]:
    """The breaker is this worker's, as each has its own; the rest is what all workers come to."""
    _, prefix, counts = KINDS[kind]
    told = {name: int(workers[f"{prefix}_{name}"]) for name in counts}
    return {
        "state": model.state,
        "breaker": model.breaker.state,
        "retry_seconds": round(model.breaker.retry_seconds, 2),
        "workers_open": int(workers[f"{prefix}_open"]),
        **told,
        "cache_hit_rate_percent": percent(told["cache_hits"], told["cache_hits"] + told["cache_misses"]),
    }


def families(kind: str, workers: Mapping[str, float]) -> "Iterator[Metric]":
    """The same as prometheus_client's metric families."""
    from prometheus_client import core

    name, prefix, counts = KINDS[kind]
    yield core.GaugeMetricFamily(
        f"chatkit_{prefix}_breakers_open",
        f"Workers that leave {name} alone because it kept failing.",
        value=workers[f"{prefix}_open"],
    )
    for count, help_text in counts.items():
        yield core.CounterMetricFamily(
            f"chatkit_{prefix}_{count}", help_text, value=workers[f"{prefix}_{count}"]
        )
