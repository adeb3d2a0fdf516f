"""Starlette kept lean: one pure ASGI middleware that binds the ID, logs a line and counts; structlog, prometheus-client."""

import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import structlog
import uvicorn
from prometheus_client import Counter, Histogram, make_asgi_app
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route

from tests.bench.servers import ANSWER, PATH
from tests.bench.servers.logging_json import configure

REQUESTS = Counter("http_requests", "Requests", ["method", "route", "status"])
SECONDS = Histogram("http_request_seconds", "Time to answer", ["method", "route"])


class Observed:
    """Gives a request its ID, and tells how it ended."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.logger = structlog.get_logger()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"").decode("latin-1") or str(uuid4())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 500

        async def sending(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode("latin-1")))
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - started
            route = scope["route"].path if "route" in scope else scope["path"]
            REQUESTS.labels(scope["method"], route, status).inc()
            SECONDS.labels(scope["method"], route).observe(seconds)
            self.logger.info(
                "http_request",
                method=scope["method"],
                route=route,
                path=scope["path"],
                status=status,
                duration_ms=round(seconds * 1000, 3),
                client=scope["client"][0],
                user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
            )


async def answer(_: Any) -> Response:
    return Response(orjson.dumps(ANSWER), media_type="application/json")


def main(port: int, folder: Path) -> None:
    configure(folder / "requests.jsonl")
    app = Starlette(routes=[Route(PATH, answer), Mount("/metrics", make_asgi_app())])
    uvicorn.run(
        Observed(app), port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
