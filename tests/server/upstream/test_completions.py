"""Nothing that an endpoint says is believed before it has the shape."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.upstream.completions import BadPiece, Piece, error_code, parsed, request_body

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["choices", "delta", "content", "usage", "error"]), inner)
    ),
)


@pytest.mark.parametrize(
    ("data", "piece"),
    [
        ('{"choices":[{"delta":{"content":"Hi"},"finish_reason":null}]}', Piece("Hi")),
        ('{"choices":[{"delta":{},"finish_reason":"stop"}]}', Piece(finish="stop")),
        ('{"choices":[{"delta":{"content":null}}]}', Piece()),
        ('{"choices":[{"delta":null,"finish_reason":"length"}]}', Piece(finish="length")),
        ('{"choices":[],"usage":{"total_tokens":42}}', Piece(tokens=42)),
        ('{"choices":[],"usage":{"total_tokens":"many"}}', Piece()),
        ('{"choices":[],"usage":{"total_tokens":-1}}', Piece()),
        ('{"choices":[],"usage":{"total_tokens":true}}', Piece()),
        ('{"choices":[],"usage":{"total_tokens":1e300}}', Piece()),
        ('{"choices":[],"usage":[]}', Piece()),
        ('{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}', Piece("a")),
        ('{"choices":[{"delta":{"role":"assistant","reasoning_content":"hm"}}],"error":null}', Piece()),
    ],
)
def test_a_piece_is_what_its_event_says(data: str, piece: Piece) -> None:
    assert parsed(data) == piece


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("", "BAD_JSON"),
        ("{", "BAD_JSON"),
        ("[]", "BAD_JSON"),
        ("null", "BAD_JSON"),
        ("{}", "BAD_JSON"),
        ('{"choices":{}}', "BAD_JSON"),
        ('{"choices":["text"]}', "BAD_JSON"),
        ('{"choices":[{"delta":{"content":7}}]}', "BAD_JSON"),
        ('{"choices":[{"delta":{"content":["a"]}}]}', "BAD_JSON"),
        ('{"choices":[{"delta":7}]}', "BAD_JSON"),
        ('{"choices":[{"delta":{"content":"\\ud800"}}]}', "BAD_JSON"),
        ('{"error":{"message":"no","code":"overloaded"}}', "ERROR_OBJECT"),
        ('{"error":"no"}', "ERROR_OBJECT"),
    ],
)
def test_what_has_not_the_shape_is_refused_by_name(data: str, status: str) -> None:
    with pytest.raises(BadPiece) as refused:
        parsed(data)
    assert refused.value.status == status


@given(JSON | st.text().map(lambda text: {"choices": [{"delta": {"content": text}}]}))
def test_any_json_is_a_piece_or_refused(body: object) -> None:
    try:
        piece = parsed(orjson.dumps(body).decode())
    except BadPiece:
        return
    assert isinstance(piece.text, str)
    assert piece.tokens is None or piece.tokens >= 0


def test_of_an_error_only_its_code_is_read() -> None:
    assert error_code({"error": {"code": "invalid_api_key", "message": "sk-secret"}}) == "invalid_api_key"
    assert error_code({"error": {"code": None, "type": "insufficient_quota"}}) == "insufficient_quota"
    assert error_code({"error": {"code": "Incorrect API key provided: sk-secret"}}) is None
    assert error_code({"error": "sk-secret"}) is None
    assert error_code([]) is None


def test_an_answer_is_asked_for_as_a_stream_with_its_tokens_counted() -> None:
    body = orjson.loads(request_body("m", [{"role": "user", "content": "Hi"}], 500))
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 500,
    }
    assert "max_tokens" not in orjson.loads(request_body("m", [], 0))
