"""The embeddings of OpenAI's HTTP interface: the request, and the vectors that come back.

The format is https://platform.openai.com/docs/api-reference/embeddings: a POST of texts, answered by one JSON object with a vector for
each, which names by `index` the text that it is of. Nothing of what comes back is believed: what has not the shape is `BadPiece`.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from .completions import BadPiece, counted_tokens, error_code

Vectors = NDArray[np.float32]

MOST_DIMENSIONS = 8_192
"""A vector of more numbers is nonsense; those in use have 384 to 4,096."""
BYTES_A_VECTOR = 32 * MOST_DIMENSIONS
"""What an answer may have for each text: a number takes at most 24 characters, and some upstreams put each on a line of its own."""

_NUMBERS = {int, float}


class Embedded(NamedTuple):
    """`vectors` has a row for each text, in their order, each of length 1; `tokens` is what they took, if told."""

    vectors: Vectors
    tokens: int | None = None


def request_body(model: str, texts: Sequence[str]) -> bytes:
    """The body of a request for the vectors of `texts`, which must be printable."""
    return orjson.dumps({"model": model, "input": texts, "encoding_format": "float"})


def parsed(body: bytes, count: int) -> Embedded:
    """The vectors of `count` texts that `body` holds. Raises ``BadPiece``."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadPiece("BAD_JSON") from None
    if not isinstance(told, dict):
        raise BadPiece("BAD_JSON")
    if told.get("error"):
        raise BadPiece("ERROR_OBJECT", error_code(told))
    return Embedded(_units(_rows(told.get("data"), count)), counted_tokens(told.get("usage")))


def _rows(data: Any, count: int) -> list[list[float]]:
    """The numbers for each text, in the order of the texts; as many for each."""
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise BadPiece("BAD_JSON")
    found = {item.get("index"): item.get("embedding") for item in data if type(item.get("index")) is int}
    if len(data) != count or found.keys() != set(range(count)):
        raise BadPiece("WRONG_COUNT")
    rows = [found[index] for index in range(count)]
    if not all(isinstance(row, list) for row in rows) or len({len(row) for row in rows}) != 1:
        raise BadPiece("BAD_VECTOR")
    # `true` is a number to Python, and "1" to numpy.
    if not 1 <= len(rows[0]) <= MOST_DIMENSIONS or not set(map(type, chain(*rows))) <= _NUMBERS:
        raise BadPiece("BAD_VECTOR")
    return rows


def _units(rows: list[list[float]]) -> Vectors:
    """The same with length 1, so that the product of two is their cosine."""
    numbers = np.array(rows, dtype=np.float64)
    largest = np.abs(numbers).max(axis=1, keepdims=True)
    if not np.isfinite(largest).all() or not largest.all():
        raise BadPiece("BAD_VECTOR")
    numbers /= largest  # or the squares of large ones would be infinite, and those of small ones nothing
    numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
    return numbers.astype(np.float32)
