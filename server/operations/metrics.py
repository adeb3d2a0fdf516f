"""What is it doing? Figures of every request, as JSON for people and as Prometheus' text for machines.

One address, two languages: whoever asks for Prometheus' or OpenMetrics' format by `Accept` gets it; a plain `curl` and a
browser get JSON. The figures of requests are those of the log: each comes from an `http_request` event. Those of models, mail and
the log itself are told by whoever has them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from aiohttp import hdrs, web

from pipeline.eventlog import EventLog
from pipeline.figures.file import BOUNDS_SECONDS
from pipeline.figures.windows import Windows, percent
from server import VERSION
from server.answers import json_response
from server.mail.outbox import Outbox
from server.middleware.access import Meter

from . import model_figures
from .accept import preferred
from .health import HEALTH
from .model_figures import MODELS, Model

EVENTS = web.AppKey("events", EventLog)
METER = web.AppKey("meter", Meter)
OUTBOX = web.AppKey("outbox", Outbox)

JSON = "application/json"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OFFERS = (JSON, OPENMETRICS, TEXT)


async def metrics(request: web.Request) -> web.StreamResponse:
    """The figures, in the format that the client prefers."""
    offer = preferred(",".join(request.headers.getall(hdrs.ACCEPT, [])), OFFERS)
    vary = {"Vary": "Accept"}
    if offer == JSON:
        return json_response(figures(request.app), headers=vary)
    return web.Response(body=_exposition(request.app, offer), headers={**vary, "Content-Type": offer})


def figures(app: web.Application) -> dict[str, Any]:
    """The six figures first, then the windows in all and by route, then the log's own."""
    windows = _windows(app)
    totals = windows.totals()
    workers = windows.published()
    return {
        "total_requests": totals.requests,
        "error_count": totals.errors,
        "error_rate_percent": percent(totals.errors, totals.requests),
        "rate_limit_hits": totals.limited,
        "avg_response_ms": round(totals.average_ms, 2),
        "uptime_seconds": app[HEALTH].uptime_seconds,
        "windows": {f"{minutes}m": _rounded(summary) for minutes, summary in windows.summaries().items()},
        "routes": {
            route: {f"{minutes}m": _rounded(summary) for minutes, summary in series.items()}
            for route, series in windows.by_route().items()
        },
        "server": {
            "version": VERSION,
            "workers": len(windows.workers()),
            "inflight": int(workers["inflight"]),
            "loop_lag_ms": round(workers["loop_lag_ms"], 3),
        },
        "pipeline": {
            **{name: int(workers[name]) for name in _COUNTS},
            "queue_oldest_ms": round(workers["queue_oldest_ms"], 2),
            "failing_seconds": round(workers["failing_ms"] / 1000, 2),
        },
        "mail": {
            "waiting": app[OUTBOX].waiting,
            "oldest_seconds": round(app[OUTBOX].oldest_seconds, 2),
        },
        **{kind: model_figures.as_json(kind, model, workers) for kind, model in app[MODELS].items()},
    }


_COUNTS = (
    "events_written",
    "events_dropped",
    "events_lost",
    "queue_depth",
    "ring_used_bytes",
    "ring_bytes",
)


def told(meter: Meter, models: Iterable[Model]) -> dict[str, float]:
    """What this worker tells the others of itself and of the models it asks, beside how its log is."""
    figures: dict[str, float] = {"inflight": meter.inflight, "loop_lag_ms": meter.lag.last_ms}
    for model in models:
        figures |= model.figures()
    return figures


def _windows(app: web.Application) -> Windows:
    """The figures of all workers, this one's up to now."""
    app[EVENTS].publish(**told(app[METER], app[MODELS].values()))
    return app[EVENTS].figures()


def _rounded(summary: Any) -> dict[str, Any]:
    return {name: round(value, 2) for name, value in summary._asdict().items()}


def _exposition(app: web.Application, offer: str) -> bytes:
    # Imported where it is used: most servers start without anyone asking for this.
    from prometheus_client import CollectorRegistry, exposition
    from prometheus_client.openmetrics import exposition as openmetrics

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(app))
    generate: Callable[[CollectorRegistry], bytes] = exposition.generate_latest
    if offer == OPENMETRICS:
        generate = openmetrics.generate_latest
    return generate(registry)


class _Collector:
    """The figures as prometheus_client's metric families; seconds and counts, as Prometheus has them."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    def collect(self) -> Iterator[Any]:
        """One family after the other."""
        from prometheus_client import core

        windows = _windows(self._app)
        workers = windows.published()
        requests = core.CounterMetricFamily("chatkit_requests", "Requests answered.", labels=["route"])
        errors = core.CounterMetricFamily(
            "chatkit_errors", "Requests that the server failed.", labels=["route"]
        )
        limited = core.CounterMetricFamily(
            "chatkit_rate_limit_hits", "Requests refused as too many.", labels=["route"]
        )
        duration = core.HistogramMetricFamily(
            "chatkit_request_duration_seconds", "How long requests took.", labels=["route"]
        )
        for route, series in windows.histograms().items():
            requests.add_metric([route], series["count"])
            errors.add_metric([route], series["errors"])
            limited.add_metric([route], series["limited"])
            buckets = [
                (str(bound), count) for bound, count in zip(BOUNDS_SECONDS, series["counts"], strict=True)
            ]
            duration.add_metric([route], [*buckets, ("+Inf", series["count"])], series["sum_ms"] / 1000)
        yield from (requests, errors, limited, duration)

        response = core.GaugeMetricFamily(
            "chatkit_response_seconds", "Percentiles of rolling windows.", labels=["window", "percentile"]
        )
        for minutes, summary in windows.summaries().items():
            for percentile, value in (
                ("50", summary.p50_ms),
                ("95", summary.p95_ms),
                ("99", summary.p99_ms),
            ):
                response.add_metric([f"{minutes}m", percentile], value / 1000)
        yield response

        gauges = {
            "chatkit_uptime_seconds": ("Time since the start.", self._app[HEALTH].uptime_seconds),
            "chatkit_workers": ("Processes that serve.", len(windows.workers())),
            "chatkit_inflight_requests": ("Requests being served.", workers["inflight"]),
            "chatkit_loop_lag_seconds": (
                "How late the event loop last was, in the worst of the workers.",
                workers["loop_lag_ms"] / 1000,
            ),
            "chatkit_log_queue_events": ("Events that wait to be written.", workers["queue_depth"]),
            "chatkit_log_ring_used_bytes": ("The part of the rings in use.", workers["ring_used_bytes"]),
            "chatkit_log_failing_seconds": (
                "For how long the log could not be written, in the worst of the workers.",
                workers["failing_ms"] / 1000,
            ),
            "chatkit_mail_waiting_letters": ("Letters that wait to be sent.", self._app[OUTBOX].waiting),
            "chatkit_mail_oldest_seconds": (
                "How long the oldest of them has waited.",
                self._app[OUTBOX].oldest_seconds,
            ),
        }
        for name, (help_text, value) in gauges.items():
            yield core.GaugeMetricFamily(name, help_text, value=value)
        counters = {
            "events_written": "Events written.",
            "events_dropped": "Events for which there was no room.",
            "events_lost": "Events that were accepted and could not be read back.",
        }
        for name, help_text in counters.items():
            yield core.CounterMetricFamily(f"chatkit_log_{name}", help_text, value=workers[name])
        for kind in self._app[MODELS]:
            yield from model_figures.families(kind, workers)
        yield core.InfoMetricFamily("chatkit", "The server.", value={"version": VERSION})
