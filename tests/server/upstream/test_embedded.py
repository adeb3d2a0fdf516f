"""Vectors as they come: only what has the whole shape is taken, whatever else somebody sends."""

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.upstream.completions import BadPiece
from server.upstream.embedded import MOST_DIMENSIONS, parsed, request_body

numbers = st.floats(min_value=-1e300, max_value=1e300, allow_nan=False) | st.integers(-(2**40), 2**40)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "embedding", "index", "error", "usage"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


def told(*rows: Any, **more: Any) -> bytes:
    data = [{"index": index, "embedding": row} for index, row in enumerate(rows)]
    return json.dumps({"data": data, **more}).encode()


def refused(body: bytes, count: int) -> str:
    with pytest.raises(BadPiece) as bad:
        parsed(body, count)
    return bad.value.status


def test_the_request_names_the_model_and_the_texts() -> None:
    assert json.loads(request_body("m", ["one", "two"])) == {
        "model": "m",
        "input": ["one", "two"],
        "encoding_format": "float",
    }


@given(
    rows=st.integers(1, 6).flatmap(
        lambda width: st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1, max_size=6)
    )
)
def test_every_vector_has_length_1_and_the_direction_it_came_with(rows: list[list[float]]) -> None:
    if any(not any(float(number) for number in row) for row in rows):
        assert refused(told(*rows), len(rows)) == "BAD_VECTOR"
        return
    vectors = parsed(told(*rows), len(rows)).vectors
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for row, vector in zip(rows, vectors, strict=True):
        assert int(np.argmax(np.abs(np.array(row, dtype=float)))) in np.flatnonzero(
            np.abs(vector) >= np.abs(vector).max() * (1 - 1e-6)
        )
        assert all(
            np.sign(float(number)) == np.sign(found) or abs(found) < 1e-30
            for number, found in zip(row, vector, strict=True)
        )


@given(order=st.permutations(range(5)))
def test_a_vector_belongs_to_the_text_that_its_index_names_wherever_it_stands(order: list[int]) -> None:
    data = [{"index": index, "embedding": [float(index == place) for place in range(5)]} for index in order]
    assert np.array_equal(parsed(json.dumps({"data": data}).encode(), 5).vectors, np.eye(5))


@given(
    body=anything.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60),
    count=st.integers(1, 3),
)
def test_whatever_comes_is_vectors_or_refused(body: bytes, count: int) -> None:
    try:
        vectors, tokens = parsed(body, count)
    except BadPiece:
        return
    assert vectors.shape[0] == count
    assert np.isfinite(vectors).all()
    assert tokens is None or tokens >= 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", "BAD_JSON"),
        (b"[]", "BAD_JSON"),
        (b"{}", "BAD_JSON"),
        (b'{"data": [1]}', "BAD_JSON"),
        (b'{"error": {"code": "model_not_found"}}', "ERROR_OBJECT"),
        (told(), "WRONG_COUNT"),
        (told([1.0]), "WRONG_COUNT"),
        (told([1.0], [1.0], [1.0]), "WRONG_COUNT"),
        (b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}', "WRONG_COUNT"),
        (b'{"data": [{"index": 0, "embedding": [1]}, {"index": 2, "embedding": [1]}]}', "WRONG_COUNT"),
        (b'{"data": [{"index": 0, "embedding": [1]}, {"index": true, "embedding": [1]}]}', "WRONG_COUNT"),
        (b'{"data": [{"index": [], "embedding": [1]}, {"index": {}, "embedding": [1]}]}', "WRONG_COUNT"),
        (b'{"data": [{"embedding": [1]}, {"embedding": [1]}]}', "WRONG_COUNT"),
        (told([1.0], [1.0, 2.0]), "BAD_VECTOR"),
        (told([], []), "BAD_VECTOR"),
        (told([0.0], [1.0]), "BAD_VECTOR"),
        (told(["1"], ["1"]), "BAD_VECTOR"),
        (told([True], [True]), "BAD_VECTOR"),
        (told([None], [1.0]), "BAD_VECTOR"),
        (told([[1.0]], [[1.0]]), "BAD_VECTOR"),
        (told("AACAPw==", "AACAPw=="), "BAD_VECTOR"),
        (told(*[[1.0] * (MOST_DIMENSIONS + 1)] * 2), "BAD_VECTOR"),
        (b'{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1]}]}', "BAD_JSON"),
    ],
)  # fmt: skip
def test_what_is_not_two_vectors_is_refused_by_its_name(body: bytes, status: str) -> None:
    assert refused(body, 2) == status


def test_a_number_beyond_all_bounds_is_refused() -> None:
    body = b'{"data": [{"index": 0, "embedding": [1e999, 1]}]}'
    assert refused(body, 1) in {"BAD_VECTOR", "BAD_JSON"}


def test_the_largest_answer_of_a_batch_is_within_the_bound_of_what_is_read() -> None:
    from server.upstream.embedded import BYTES_A_VECTOR

    chosen = random.Random(7)
    row = [chosen.uniform(-1, 1) * 1e-5 for _ in range(MOST_DIMENSIONS)]
    assert len(json.dumps(row, indent=2)) < BYTES_A_VECTOR


@pytest.mark.parametrize(
    ("usage", "tokens"), [({"total_tokens": 7}, 7), ({"total_tokens": -1}, None), (None, None), ([], None)]
)
def test_tokens_are_told_where_they_make_sense(usage: Any, tokens: int | None) -> None:
    assert parsed(told([1.0], usage=usage), 1).tokens == tokens
