"""What an endpoint of `tests.model_endpoint` does when it is asked for vectors: embeds well, or as endpoints that are not well do.

    endpoint.embeds = by_concept                      # the usual: what means the like is near
    endpoint.then(refuses(503), answers(b"{}"))       # for the next two requests

The stand-in for a model is a table of concepts. Texts that name the same concept are near each other, whatever words they use for it;
every other word is a concept of its own.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from server.chat.words import stem, terms
from tests.model_endpoint import UPSTREAM_ID, Behaviour

DIMENSIONS = 256
CONCEPTS = [
    {stem(word) for word in words.split()}
    for words in ("money refund repay reimburse", "physician doctor medic", "soccer football")
]
TELLING = 6.0
"""How much more a concept of the table tells than any other word."""

Embed = Callable[[str], Sequence[float]]


def meaning(text: str) -> list[float]:
    """The vector of `text` by its concepts."""
    vector = np.full(DIMENSIONS, 1e-6)
    for term in terms(text, 10_000):
        concept = next((place for place, words in enumerate(CONCEPTS) if term in words), None)
        vector += random_unit(term) if concept is None else TELLING * random_unit(f"concept {concept}")
    return [float(number) for number in vector]


def noise(text: str) -> list[float]:
    """A vector that has nothing to do with what `text` means, and is far from all others."""
    return [float(number) for number in random_unit(text)]


@lru_cache(maxsize=10_000)
def random_unit(name: str) -> NDArray[np.float64]:
    """A vector of length 1 that is always the same for `name`; two of them are nearly at right angles."""
    seed = int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8])
    numbers = np.random.default_rng(seed).standard_normal(DIMENSIONS)
    unit: NDArray[np.float64] = numbers / np.linalg.norm(numbers)
    return unit


def body(texts: Sequence[str], embed: Embed = meaning) -> dict[str, Any]:
    """A whole answer."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": embed(text)}
            for index, text in enumerate(texts)
        ],
        "model": "stand-in",
        "usage": {"prompt_tokens": 7 * len(texts), "total_tokens": 7 * len(texts)},
    }


def embeds(embed: Embed = meaning, *, seconds: float = 0.0) -> Behaviour:
    """Answers with the vectors, after so many seconds."""
    return changed(lambda _: None, embed, seconds=seconds)


def changed(
    change: Callable[[dict[str, Any]], object], embed: Embed = meaning, *, seconds: float = 0.0
) -> Behaviour:
    """Answers with the vectors, after `change` has been at the body."""

    async def behave(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        told = body((await request.json())["input"], embed)
        change(told)
        return _json(json.dumps(told).encode())

    return behave


def answers(said: bytes) -> Behaviour:
    """Answers with these bytes, as if they were the vectors."""

    async def behave(_: web.Request) -> web.StreamResponse:
        return _json(said)

    return behave


def breaks_off() -> Behaviour:
    """Promises a long answer and hangs up in the middle of it."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"data":')
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response

    return behave


def _json(said: bytes) -> web.Response:
    return web.Response(body=said, content_type="application/json", headers={"X-Request-ID": UPSTREAM_ID})
