"""What never reaches a line."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.redact import REDACTED, redacted, redacted_fields, scrub, secret_name
from tests.cost import least

SECRET = "hunter2hunter2hunter2"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"

SECRET_NAMES = (
    "password Password PASSWORD user_password userPassword passwd pwd token access_token accessToken refresh-token"
    " X-Auth-Token csrf_tokens api_key apiKey apikey X-Api-Key secret client_secret SECRET_KEY secretKey private_key key keys"
    " cookie Set-Cookie cookies authorization Authorization Proxy-Authorization credentials jwt session_id sessionId sid dsn"
    " verification_link verify_url magicLink reset_link email_body html_body body otp signature password_hash"
    " pass db_pass DB_PASS passcode pin user_pin auth authtoken accesstoken userpassword secretkey privatekey dbpwd DB_PWD"
    " verification_code activation_link mail_text html session user_session csrf csrfToken passphrase creds AccountKey"
    " API_KEY_OLD SECRET_KEY_2 signInUrl url_to_reset oauth bearer auth_header recovery-codes connect.sid"
).split()

OPEN_NAMES = (
    "route path status outcome duration_ms client sessions tier page_url url title cache_key primary_key public_key keyboard"
    " monkey tokenizer subject to_email everybody sidebar author authors passage passages bypass compass encompasses pinned"
    " opinion spinning session_state auth_method status_code barcode login_count reset_at html_url text_html encoding turkey"
    " missing_key index_keys signed author_code link mailbox inside footprint"
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
    "a short header": "Authorization: Basic S3cr",
    "a scheme under another name": "auth: Basic S3cr",
    "a cookie header": f"GET / HTTP/1.1\r\nCookie: a={SECRET}; b={SECRET}\r\nHost: x",
    "a cookie in quotes": f'cookie="a={SECRET}"; b={SECRET}',
    "a password in a DSN": f"could not connect to postgresql://chat:{SECRET}@db.internal:5432/chat",
    "a DSN password with an @": f"redis://:{SECRET}@{SECRET}@cache:6379/0",
    "a DSN password with quotes": f"postgresql://chat:a'{SECRET}\"{SECRET}@db/chat",
    "a long DSN password": f"postgresql://chat:{SECRET * 100}@db/chat",
    "a user without a password": f"https://{SECRET}@o1.ingest.sentry.io/2",
    "two DSNs": f"amqp://a:{SECRET}@one,amqp://b:{SECRET}@two/x",
    "a query string": f"GET https://example.com/verify?token={SECRET}&next=/ failed",
    "a relative query string": f"/callback?code={SECRET}",
    "a query without a name": f"GET https://example.com/?{SECRET} failed",
    "a query behind a host": f"http://example.com?{SECRET}",
    "a query behind a file": f"index.php?{SECRET}",
    "a query alone": f"?a+b={SECRET}",
    "a query with brackets": f"/x?a=(({SECRET})){SECRET}",
    "a verification link": f"https://example.com/auth/verify/{SECRET}",
    "a link with two parts": f"https://example.com/reset/MQ/{SECRET}",
    "an activation link": f"/activate/{SECRET}",
    "an assignment": f"password={SECRET} was refused",
    "many spaces": f"password:    {SECRET}",
    "the next line": f"password:\n  {SECRET}",
    "a list in YAML": f"passwords:\n  - {SECRET}",
    "an arrow": f"password => {SECRET}",
    "a walrus": f"password := {SECRET}",
    "a comparison": f"password == {SECRET}",
    "XML": f"<db><password>{SECRET}</password></db>",
    "an item": f"environ['DB_PASS'] = '{SECRET}'",
    "Markdown": f"**Password:** {SECRET}",
    "two words": f"your verification code: {SECRET}",
    "a quoted assignment": f"api_key: '{SECRET} {SECRET}'",
    "an escaped quote": f'password="a\\"{SECRET}"',
    "an escaped backslash": f'password="a\\\\", token="{SECRET}"',
    "a quote that does not end": f'password="a {SECRET}',
    "punctuation in a value": f"password=a,{SECRET};{SECRET}\"{SECRET}'{SECRET}){SECRET}&{SECRET}",
    "a call": f"password=SecretStr('a {SECRET}')",
    "a dict": str({"token": SECRET, "user": "ann"}),
    "bytes": str({"token": f"a {SECRET}".encode()}),
    "a list under a name": str({"password": ["a", SECRET]}),
    "an object under a name": json.dumps({"password": {"v": SECRET, "w": ["}", SECRET]}}),
    "an object that does not end": json.dumps({"password": {"v": SECRET}})[:-2],
    "pairs": str([("Authorization", f"Basic {SECRET}"), ("Cookie", f"x={SECRET}")]),
    "pairs of bytes": str([(b"Authorization", f"Basic {SECRET}".encode())]),
    "pairs in JSON": json.dumps([["Authorization", f"Basic {SECRET}"]]),
    "JSON": json.dumps({"client_secret": SECRET}),
    "JSON in JSON": json.dumps(json.dumps({"refresh_token": SECRET})),
    "JSON in JSON in JSON": json.dumps(json.dumps(json.dumps({"password": f'"{SECRET}" {SECRET}'}))),
    "an upper-case name": f"SECRET_KEY={SECRET}",
    "an OpenAI key": f"sk-proj-{SECRET} is invalid",
    "a Stripe key": f"sk_live_{SECRET}",
    "a webhook's key": f"whsec_{SECRET}",
    "a Hugging Face token": f"hf_{SECRET}",
    "a GitHub token": f"ghp_{SECRET}{SECRET}",
    "an AWS key": "AKIAIOSFODNN7EXAMPLE",
    "a passing AWS key": "ASIAIOSFODNN7EXAMPLE",
    "a JSON web token": JWT,
    "a JSON web token behind a dash": f"cookie-{JWT}",
    "a private key": f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    "a private key that was cut": f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    "a PGP key": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{SECRET}\n-----END PGP PRIVATE KEY BLOCK-----",
    "a private key under its name": f"private_key=-----BEGIN PRIVATE KEY-----\n{SECRET}",
}


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS.keys())
def test_free_text_does_not_leak(text: str) -> None:
    clean = scrub(text)
    assert REDACTED in clean
    for secret in (SECRET, "S3cr", "OSFODNN7EXAMPLE", "dozjgNryP4J3jVmNHl0w5N"):
        assert secret not in clean


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_that_is_secret_in_a_field_is_secret_in_a_text(name: str) -> None:
    assert scrub(f"{name}={SECRET}") == f"{name}={REDACTED}"
    assert scrub(f'{{"{name}": "{SECRET}", "n": 1}}') == f'{{"{name}": {REDACTED}, "n": 1}}'


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_a_name_that_is_innocent_in_a_field_is_innocent_in_a_text(name: str) -> None:
    assert scrub(f"{name}=value") == f"{name}=value"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("{'token': 'a', 'user': 'ann'}", "{'token': [redacted], 'user': 'ann'}"),
        ('{"password": ["a]", {"b": 1}], "n": 1}', '{"password": [redacted], "n": 1}'),
        ("token=abc,user=ann;n=1", "token=[redacted],user=ann;n=1"),
        ("token=abc&user=ann", "token=[redacted]&user=ann"),
        ("(token=abc)", "(token=[redacted])"),
        ("[('Cookie', 'a=b'), ('Host', 'x')]", "[('Cookie', [redacted]), ('Host', 'x')]"),
        ("postgresql://chat:pw@db:5432/chat", "postgresql://[redacted]@db:5432/chat"),
        ("https://key@host/@ann/x", "https://[redacted]@host/@ann/x"),
        ("GET /a/b?c=d 200", "GET /a/b?[redacted] 200"),
        ("dsn=postgres://a:b@c/d failed", "dsn=[redacted] failed"),
    ],
)
def test_what_stands_around_a_secret_stays(text: str, clean: str) -> None:
    assert scrub(text) == clean
    assert scrub(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "the database is locked",
        "GET /api/v1/chat took 12.5 ms: 200 ok",
        "no such table: passages (at 12:34:56)",
        "https://example.com/docs/guide#tokens",
        "tokens_used is counted, passwords are not",
        "tokens_used=12, max_tokens: 4096, first_token_ms=7.5",
        "7d3f2b1c-8a4e-4c55-9d0e-2f6f1b9a3c10",
        "really? yes",
        "either/or? next",
        "(is it on/off?)",
        "why?! because",
        "'this.part?.name' is undefined",
        "[SQL: UPDATE chat.turns SET text=? WHERE id=?, (?, ?) AND a.b=?]",
        "https://example.com/@ann/toot and mail to ann@example.com",
        "compass: north, passages=7, bypass=on, author: Ann, monkey=1, keyboard: us, tokenizer: porter",
        "UNIQUE constraint failed: conversation_messages.pk_conversation_messages",
        "SSL: CERTIFICATE_VERIFY_FAILED: verify failed: unable to get local issuer certificate",
        "risk-management-in-large-systems, task-force-of-this-department",
        "missing fields: a, b; primary key: id; status code: 200",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert scrub(text) == text


pieces = st.sampled_from(
    [
        *"ab :=,;&?/.\\\"'`()[]{}<>@-_\n",
        "password",
        "Cookie",
        "://",
        "key",
        "bearer ",
        "verify",
        "eyJ",
        REDACTED,
    ]
)


@given(st.text() | st.lists(pieces, max_size=60).map("".join))
def test_scrubbing_never_fails(text: str) -> None:
    assert isinstance(scrub(text), str)
    assert redacted(text) == scrub(text)


@given(st.lists(pieces, max_size=20).map("".join), st.sampled_from(["", '"', "'", '\\"']))
def test_what_stands_before_a_secret_does_not_save_it(text: str, quote: str) -> None:
    assert SECRET not in scrub(f"{text}\npassword={quote}{SECRET}{quote}")


CUT = {
    "a DSN": f"postgresql://chat:{SECRET}",
    "a bearer token": f"Bearer {SECRET}",
    "an OpenAI key": f"sk-proj-{SECRET}",
    "a JSON web token": JWT,
    "a GitHub token": f"ghp_{SECRET}{SECRET}",
    "an assignment": f"password={SECRET}",
    "a long DSN": f"postgresql://chat:{SECRET * 100}",
}


@pytest.mark.parametrize("secret", CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("kind", [str, str.encode])
@pytest.mark.parametrize("word", ["word ", "wörd ", "\U0001f600 "])
def test_a_secret_where_a_text_is_cut_does_not_survive_by_half(
    secret: str, kind: Callable[[str], object], word: str
) -> None:
    for shown in range(0, len(secret), max(1, len(secret) // 40)):
        clean = redacted(kind((word * 8_000)[: 16_000 - shown] + " " + secret + "@db/chat and on" * 4_000))
        for half in ("hunte", "dozjg", "eyJhb"):
            assert half not in clean
        assert 11_000 < len(clean) <= 16_000


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
# Each begins what a pattern looks for, over and over, and never ends it.
HOSTILE += [
    "eyJ-",
    "eyJ_eyJ-",
    "-eyJa.",
    "://:",
    "://a",
    "://@",
    ":// :",
    "SG.a-",
    "AKIA",
    "xox",
    "hf_-",
    "whsec_",
    "sk_",
]
HOSTILE += [
    "password: ",
    "password\n",
    'password\\"',
    "password=\\",
    "password={",
    "password={'",
    "password=[(",
    "tokens=1,",
]
HOSTILE += [
    "('password', ",
    "('a','",
    "[b'",
    "(",
    "\\",
    "\\\\\\'",
    "'\\\\\\",
    "password=`",
    "password=a'b",
    "token=,a",
    "password=- ",
]
HOSTILE += [
    "/a",
    "/?",
    "/a?",
    ".a?",
    "?a",
    "?a=?",
    "/verify/a/",
    "/login",
    "login_link_",
    "url_login",
    "key ",
    "a b",
    "-",
    "cookie:\n",
]
HOSTILE += [
    "basic basic ",
    "-----BEGIN ",
    "-----BEGIN A PRIVATE KEY-----END",
    "password>",
    "<password>",
    "a=b:c>",
    "aA",
    "loginA",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_the_search_is_linear_in_the_length_of_the_text(unit: str) -> None:
    def cost(size: int) -> float:
        text = (unit * size)[:size]
        return least(lambda: scrub(text))

    # Sixteen times the text may cost sixteen times the time; a quadratic search would cost two hundred and fifty times.
    assert cost(160_000) < 64 * max(cost(10_000), 0.0005)
