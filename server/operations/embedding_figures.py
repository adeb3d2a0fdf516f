"""What all workers have asked of the model that embeds, and how often they need not ask: as JSON, and for Prometheus."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pipeline.figures.windows import percent

if TYPE_CHECKING:
    from server.upstream.embeddings import Embeddings

EMBEDDINGS: "web.AppKey[Embeddings]" = web.AppKey("embeddings")
"""There when a model embeds; without one it is not even imported."""

_COUNTS = {
    "calls": "Calls to the model that embeds, for questions.",
    "failures": "Calls to it that failed.",
    "hits": "Questions whose vector was remembered.",
    "misses": "Questions whose vector was not.",
}


def as_json(embeddings: "Embeddings", workers: Mapping[str, float]) -> dict[str, Any]:
    """The breaker is this worker's, as each has its own; the rest is what all workers come to."""
    hits, misses = (int(workers[f"embedding_{name}"]) for name in ("hits", "misses"))
    return {
        "state": embeddings.state,
        "breaker": embeddings.breaker.state,
        "retry_seconds": round(embeddings.breaker.retry_seconds, 2),
        "workers_open": int(workers["embedding_open"]),
        **{name: int(workers[f"embedding_{name}"]) for name in _COUNTS},
        "hit_rate_percent": percent(hits, hits + misses),
    }


def families(workers: Mapping[str, float]) -> Iterator[Any]:
    """The same as prometheus_client's metric families."""
    from prometheus_client import core

    yield core.GaugeMetricFamily(
        "chatkit_embedding_breakers_open",
        "Workers that leave the model that embeds alone because it kept failing.",
        value=workers["embedding_open"],
    )
    for name, help_text in _COUNTS.items():
        yield core.CounterMetricFamily(
            f"chatkit_embedding_{name}", help_text, value=workers[f"embedding_{name}"]
        )
