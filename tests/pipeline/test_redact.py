"""What never reaches a line."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.redact import REDACTED, redacted, redacted_fields, scrub, secret_name

SECRET = "hunter2hunter2hunter2"

SECRET_NAMES = (
    "password Password PASSWORD user_password userPassword passwd pwd token access_token accessToken refresh-token"
    " X-Auth-Token csrf_tokens api_key apiKey apikey X-Api-Key secret client_secret SECRET_KEY secretKey private_key key keys"
    " cookie Set-Cookie cookies authorization Authorization Proxy-Authorization credentials jwt session_id sessionId sid dsn"
    " verification_link verify_url magicLink reset_link email_body html_body body otp signature password_hash"
).split()

OPEN_NAMES = (
    "route path status outcome duration_ms client session tier page_url url title cache_key primary_key public_key keyboard"
    " monkey tokenizer subject to_email everybody sidebar author passage bypass compass"
).split()


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_name_hides_its_value_at_any_depth(name: str) -> None:
    assert redacted_fields({name: SECRET}) == {name: REDACTED}
    assert redacted_fields({"outer": [{"inner": {name: SECRET}}]}) == {"outer": [{"inner": {name: REDACTED}}]}


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_an_innocent_name_shows_its_value(name: str) -> None:
    assert redacted_fields({name: "value"}) == {name: "value"}


@pytest.mark.parametrize("name", ["tokens_used", "first_token_ms", "max_tokens", "token_count"])
def test_a_count_of_tokens_is_no_token(name: str) -> None:
    assert not secret_name(name, 12)
    assert secret_name(name, "abc")


def test_a_password_that_is_a_number_is_a_password() -> None:
    assert redacted_fields({"password": 12345678}) == {"password": REDACTED}


LEAKS = {
    "a bearer token": f"Authorization failed for Bearer {SECRET}",
    "a header": f"Authorization: Basic {SECRET}",
    "a cookie header": f"GET / HTTP/1.1\r\nCookie: a={SECRET}; b={SECRET}\r\nHost: x",
    "a password in a DSN": f"could not connect to postgresql://chat:{SECRET}@db.internal:5432/chat",
    "a DSN password with an @": f"redis://:{SECRET}@{SECRET}@cache:6379/0",
    "a query string": f"GET https://example.com/verify?token={SECRET}&next=/ failed",
    "a relative query string": f"/callback?code={SECRET}",
    "a verification link": f"https://example.com/auth/verify/{SECRET}",
    "an assignment": f"password={SECRET} was refused",
    "a quoted assignment": f"api_key: '{SECRET} {SECRET}'",
    "a dict": str({"token": SECRET, "user": "ann"}),
    "JSON": json.dumps({"client_secret": SECRET}),
    "JSON in JSON": json.dumps(json.dumps({"refresh_token": SECRET})),
    "an upper-case name": f"SECRET_KEY={SECRET}",
    "an OpenAI key": f"sk-proj-{SECRET} is invalid",
    "a GitHub token": f"ghp_{SECRET}{SECRET}",
    "an AWS key": "AKIAIOSFODNN7EXAMPLE",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "a private key": f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    "a private key that was cut": f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
}


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS.keys())
def test_free_text_does_not_leak(text: str) -> None:
    clean = scrub(text)
    assert REDACTED in clean
    for secret in (SECRET, "AKIAIOSFODNN7EXAMPLE", "dozjgNryP4J3jVmNHl0w5N"):
        assert secret not in clean


@pytest.mark.parametrize(
    "text",
    [
        "the database is locked",
        "GET /api/v1/chat took 12.5 ms: 200 ok",
        "no such table: passages (at 12:34:56)",
        "https://example.com/docs/guide#tokens",
        "tokens_used is counted, passwords are not",
        "7d3f2b1c-8a4e-4c55-9d0e-2f6f1b9a3c10",
    ],
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert scrub(text) == text


@given(st.text())
def test_scrubbing_never_fails_and_once_is_enough(text: str) -> None:
    once = scrub(text)
    assert isinstance(once, str)
    assert redacted(text) == scrub(text[:16_000])


HOSTILE = [
    "password=",
    'password="',
    "token='",
    "://a:",
    "://",
    "?a=",
    "bearer ",
    "/verify/",
    "eyJ",
    "sk-",
    "sid:",
    "\\" * 3,
]
HOSTILE += [
    "-----BEGIN PRIVATE KEY-----",
    "authorization: ",
    "a" * 50 + "=",
    "_key=",
    "session_id ",
    "api key ",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_the_search_is_linear_in_the_length_of_the_text(unit: str) -> None:
    def cost(size: int) -> float:
        text = (unit * size)[:size]
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            scrub(text)
            best = min(best, time.process_time() - started)
        return best

    # Sixteen times the text may cost sixteen times the time; a quadratic search would cost two hundred and fifty times.
    assert cost(160_000) < 64 * max(cost(10_000), 0.0005)
