"""FastAPI with the recipe that most tutorials end in.

asgi-correlation-id, structlog in an `http` middleware, prometheus-fastapi-instrumentator, and uvicorn as it comes, access log
included.
"""

import sys
import time
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

from tests.bench.servers import ANSWER, PATH
from tests.bench.servers.logging_json import configure

logger = structlog.get_logger()


async def logged(request: Any, call_next: Any) -> Any:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=correlation_id.get())
    started = time.perf_counter()
    response = await call_next(request)
    logger.info(
        "http_request",
        method=request.method,
        path=request.url.path,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - started) * 1000, 3),
        client=request.client.host,
        user_agent=request.headers.get("user-agent", ""),
    )
    return response


async def answer() -> dict[str, Any]:
    return ANSWER


def main(port: int, folder: Path) -> None:
    configure(folder / "requests.jsonl")
    app = FastAPI()
    app.middleware("http")(logged)
    app.add_middleware(CorrelationIdMiddleware)
    app.add_api_route(PATH, answer)
    Instrumentator().instrument(app).expose(app)
    uvicorn.run(app, port=port)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
