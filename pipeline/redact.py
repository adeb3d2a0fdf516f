"""What never reaches a line: secrets, by what they are called and by what they look like.

One list says what secrets are called (`_CALLED`), for the fields of an event and for names in a text alike. What they look
like is searched for only where somebody else wrote the text (see `catalogue`), and there only when a few letters hint at it,
so ordinary text costs a few microseconds. The search is linear: what was scanned for the end of a secret is not scanned again,
and every repetition is bounded, gives nothing back or ends at a character that it cannot itself consume. So no text, however
hostile, takes longer than its length allows.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import lru_cache, partial
from typing import Any, NamedTuple

REDACTED = "[redacted]"

# What a secret is called, below the letters without which no name matches. A name is compared in lower case and with its words
# joined by "_": `dbPass`, `DB-PASS` and "db pass" are all `db_pass`.
_START, _END, _LAST = r"(?<![a-z0-9])", r"(?![a-z])", r"(?:_?\d+)?\Z"
_KEYS = r"(?:access|api|auth|client|encryption|hmac|master|private|sign(?:ing)?|ssh)_?keys?"
_HARMLESS_KEYS = (
    "cache duplicate foreign idempotency index missing partition primary public sort storage such unexpected unknown"
).split()
_SIGNS_IN = (
    "2fa activat confirm invit login magic mfa recovery reset signin sign_in sms unsubscribe verif".split()
)
_TO_SIGN_IN = rf"\A(?=.*{_START}(?:{'|'.join(_SIGNS_IN)})).*"
_CALLED = {
    "auth": rf"authorization|{_START}o?auth(?:_header)?{_LAST}",
    "bearer": rf"{_START}bearer{_LAST}",
    "body": rf"{_START}body(?:_html|_text)?{_LAST}",
    "code": rf"{_TO_SIGN_IN}codes?{_END}",
    "cookie": "cookie",
    "cred": rf"credential|{_START}creds{_END}",
    "dsn": rf"{_START}dsn{_END}",
    "href": rf"{_TO_SIGN_IN}href{_END}",
    "html": r"\Ahtml\Z",
    "jwt": rf"{_START}jwt{_END}",
    "key": rf"{_KEYS}{_END}|{_START}{''.join(f'(?<!{word}_)' for word in _HARMLESS_KEYS)}keys?{_LAST}",
    "link": rf"{_TO_SIGN_IN}links?{_END}",
    "mail": r"mail_?(?:content|html|text)\Z",
    "otp": rf"{_START}otp{_END}",
    "pass": rf"pass_?(?:code|phrase|wd|word)|{_START}pass{_END}",
    "pin": rf"{_START}pin{_END}",
    "pwd": "pwd",
    "secret": "secret",
    "session": rf"session_?id|{_START}session{_LAST}",
    "sid": rf"{_START}sid{_END}",
    "signature": "signature",
    "srf": "[cx]srf",
    "uri": rf"{_TO_SIGN_IN}uris?{_END}",
    "url": rf"{_TO_SIGN_IN}urls?{_END}",
}
_SECRET = re.compile("|".join(_CALLED.values()))
_TOKENS = re.compile(rf"tokens?\d*{_END}")
_LETTERS = (*_CALLED, "token")

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_MAX_NAME = 128


class _Kind(Enum):
    """What stands under a name: something open, a secret, or a token unless it is a number (`tokens_used`)."""

    OPEN = 0
    SECRET = 1
    TOKEN = 2


@lru_cache(4096)
def _kind(name: str) -> _Kind:
    if not _holds_one(name.lower(), _LETTERS):
        return _Kind.OPEN
    words = _SEPARATORS.sub("_", _CAMEL.sub("_", name)).strip("_").lower()
    if _SECRET.search(words):
        return _Kind.SECRET
    return _Kind.TOKEN if _TOKENS.search(words) else _Kind.OPEN


def _holds_one(text: str, parts: Iterable[str]) -> bool:
    for part in parts:  # noqa: SIM110 - half the time of `any` with a generator, and every text comes this way
        if part in text:
            return True
    return False


def secret_name(name: str, value: object = "") -> bool:
    """Whether a field of this name is kept out of the log.

    A number under a name with "token" in it is a count (`tokens_used`), anything else under it is a token.
    """
    kind = _kind(name[-_MAX_NAME:])
    if kind is _Kind.TOKEN:
        return not isinstance(value, (int, float, type(None)))
    return kind is _Kind.SECRET


# A name and what assigns: `name=`, `name: `, `"name" => `, `env['name'] = `, `<name>`, "some name: ".
_ASSIGNED = re.compile(
    r"(?<![\w-])(?P<name>(?:[\w-]++ )?[\w-]++)(?P<closed>[\\\"'`*\])]{0,8})\s*+"
    r"(?::=|=>|->|={1,3}|:(?!//)|(?<=[\w-])>(?=[^\s<>]))\s*+"
)
# The first half of a pair: `('name', `.
_PAIRED = re.compile(r"[\[(]\s*+b?\\{0,7}[\"'](?P<name>[\w-]++)(?P<closed>\\{0,7}[\"'])\s*+,\s*+")

# The beginning of a value that says itself where it ends, and what ends it or begins another inside it.
_QUOTE = re.compile(r"[bfruBFRU]{0,2}(?P<escape>\\*+)(?P<quote>[\"'`])")
_BRACKET = re.compile(r"[\w.]*+(?=[\[({])")
_BRACKETS = re.compile(r"[\[({]|(?P<close>[\])}])|(?<!\\)(?P<escape>\\*+)(?P<quote>[\"'])")
_CLOSING = {quote: re.compile(rf"(?<!\\)\\*+{quote}") for quote in "\"'`"}
# Any other value ends at white space, or at punctuation behind which no word or another name follows; the mark of a list and
# the scheme of a credential belong to it.
_BARE = re.compile(
    r"(?i)(?:[-|>*+]{1,3}\s++)?(?:(?:basic|bearer|digest|token)\s++)?"
    r"(?:\[redacted\]|[^\s,;&\"'`\\)}\]]|[,;&\"'`\\)}\]](?=\w)(?![\w.-]{1,40}+[\"']?[:=]))*+"
)
_NUMBER = re.compile(r"[\d.]*+\Z")
# The values of these hold spaces, so only the line ends them.
_WHOLE_LINE = re.compile(r"(?i)authorization|cookie|pass.?phrase")
_REST_OF_LINE = re.compile(r"[^\r\n]*+")


def _without_named(pattern: re.Pattern[str], text: str) -> str:
    """`text` without the values of secret names that `pattern` finds."""
    kept: list[str] = []
    done = position = 0
    while (found := pattern.search(text, position)) is not None:
        position = found.end()
        kind = _kind(found["name"][-_MAX_NAME:])
        if kind is _Kind.OPEN:
            continue
        end = _end_of_value(text, found)
        counts = kind is _Kind.TOKEN and not found["name"].lower().endswith("token")
        if end == position or (counts and _NUMBER.match(text[position:end])):
            continue
        kept += text[done:position], REDACTED
        done = position = end
    return "".join([*kept, text[done:]])


def _end_of_value(text: str, found: re.Match[str]) -> int:
    start = found.end()
    if quote := _QUOTE.match(text, start):
        end = _end_of_string(text, quote)
    elif bracket := _BRACKET.match(text, start):
        end = _end_of_brackets(text, bracket.end())
    else:
        end = _end(_BARE, text, start)
    named_in_quotes = found["closed"].endswith(("'", '"'))
    if not named_in_quotes and _WHOLE_LINE.search(found["name"]):
        return _end(_REST_OF_LINE, text, end)
    return end


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return start if found is None else found.end()


def _end_of_string(text: str, opened: re.Match[str]) -> int:
    """Behind the quote that closes a string, which may lie escaped in another string (or JSON in JSON in JSON).

    Behind n backslashes, a quote closes what a quote behind m of them opened when n is m and any number of escaped
    backslashes, of 2(m + 1) each. Behind fewer than m, it closes a string around this one.
    """
    level = len(opened["escape"])
    for closing in _CLOSING[opened["quote"]].finditer(text, opened.end()):
        escape = len(closing[0]) - 1
        if escape < level:
            return closing.start()
        if escape % (2 * (level + 1)) == level:
            return closing.end()
    return len(text)


def _end_of_brackets(text: str, start: int) -> int:
    """Behind the bracket that closes the one at `start`; a bracket inside a string is none."""
    depth, position = 0, start
    while (found := _BRACKETS.search(text, position)) is not None:
        if found["quote"]:
            position = _end_of_string(text, found)
            continue
        position = found.end()
        depth += -1 if found["close"] else 1
        if depth == 0:
            return position
    return len(text)


# What an address is made of: white space ends it, and so does a quote or a bracket behind which no word follows.
_ADDRESS = r"(?:[^\s\"'<>\\]|[\"'<>\\](?=\w))"


def _without_user(address: re.Match[str]) -> str:
    """`://user:password@host` and `://token@host` without what stands before the host."""
    rest = address[1]
    authority = _AUTHORITY.match(rest)
    assert authority is not None
    # A password may hold any character; a name alone ends with the authority.
    at = (rest if ":" in authority[0] else authority[0]).rfind("@")
    return address[0] if at < 0 else f"://{REDACTED}{rest[at:]}"


_AUTHORITY = re.compile(r"[^/?#]*+")


class _Look(NamedTuple):
    """What a secret looks like. Only a text with one of `marks` and one of `letters`, in lower case, is searched for it."""

    without: Callable[[str], str]
    marks: tuple[str, ...]
    letters: tuple[str, ...] = ("",)


def _sub(pattern: str, replacement: str | Callable[[re.Match[str]], str] = REDACTED) -> Callable[[str], str]:
    return partial(re.compile(pattern).sub, replacement)


_LOOKS = (
    # A private key, to its end or to the end of what there is.
    _Look(
        _sub(
            r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----.*?(?:-----END [A-Z0-9 ]{0,60}-----|\Z)"
        ),
        ("private key",),
    ),
    # What stands behind the name of a secret.
    _Look(partial(_without_named, _PAIRED), ('",', "',"), _LETTERS),
    _Look(partial(_without_named, _ASSIGNED), ("=", ":", ">"), _LETTERS),
    _Look(
        _sub(r"(?i)\b(basic|bearer|digest)(\s{1,3})[A-Za-z0-9._~+/=-]{6,}", rf"\1\2{REDACTED}"),
        ("basic", "bearer", "digest"),
    ),
    # Addresses: no user, no query, and no link that signs somebody in.
    _Look(_sub(rf"://({_ADDRESS}++)", _without_user), ("://",)),
    _Look(
        _sub(
            rf"([/.][^\s\"'<>?/.]*+)\?(?=[^\s\w,).]{{0,8}}\w){_ADDRESS}++"
            rf"|\?(?=[\w.%~+\[\]!*$-][^\s\"'<>=?]{{0,63}}=){_ADDRESS}++",
            rf"\1?{REDACTED}",
        ),
        ("?",),
    ),
    _Look(
        _sub(
            rf"(/(?i:{'|'.join(_SIGNS_IN)})[\w-]{{0,20}}/(?:[\w.~%=@+-]{{1,64}}/)?)[\w.~%=-]{{12,}}",
            rf"\1{REDACTED}",
        ),
        ("/",),
    ),
    # Tokens that are known by their beginning: JSON web tokens, our own, and the keys of well-known services.
    _Look(
        _sub(
            r"(?<![\w-])(?>(?:[\w-]*?[-_])?eyJ)[\w-]{6,}+\.[\w-]{4,}+(?:\.[\w-]*+)?"
            r"|(?<![A-Za-z0-9])(?:A(?:KIA|SIA)[0-9A-Z]{16}|AIza[\w-]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|ya29\.[\w-]{16,})"
        ),
        ("akia", "asia", "aiza", "eyj", "sg.", "ya29."),
    ),
    _Look(
        _sub(
            r"(?<![A-Za-z0-9])(?:[prsw]k-[\w-]{16,}|glpat-[\w-]{16,}|pypi-[\w-]{30,}|xai-\w{20,}|xox[abeoprs]-[\w-]{10,})"
        ),
        ("-",),
        ("k-", "glpat-", "pypi-", "xai-", "xox"),
    ),
    _Look(
        _sub(
            r"(?<![A-Za-z0-9])(?:gh[oprsu]_\w{20,}|github_pat_\w{20,}|(?:g?s|[pr](?=k_(?:live|test)_))k_[\w-]{16,}|hf_\w{16,}"
            r"|npm_\w{30,}|whsec_[\w+/=-]{16,}|ck[afostv]_[\w-]{16,})"
        ),
        ("_",),
        tuple(
            (
                "cka_ ckf_ cko_ cks_ ckt_ ckv_ gho_ ghp_ ghr_ ghs_ ghu_ github_pat_ hf_ k_live_ k_test_ npm_ sk_ whsec_"
            ).split()
        ),
    ),
)


def scrub(text: str) -> str:
    """`text` without anything that looks like a secret. Time is proportional to its length."""
    lowered = text.lower()
    for without, marks, letters in _LOOKS:
        if _holds_one(lowered, marks) and _holds_one(lowered, letters):
            text = without(text)
    return text


_MAX_DEPTH = 12
_MAX_TEXT = 16_000  # more than a line can hold: what lies beyond is cut anyway and need not be searched
_MAX_SECRET = 4_000
_MAX_BYTES = 4 * _MAX_TEXT + 4  # as UTF-8 they are more characters than that
_LAST_WORD = re.compile(r"(?:\A|(?<=\s))\S*+\Z")


def redacted(value: Any, depth: int = 0) -> Any:
    """`value` with secret fields blanked at any depth and free text scrubbed; what is not JSON is left to `record`."""
    if isinstance(value, str):
        return _searched(value)
    if isinstance(value, (bytes, bytearray)):
        return _searched(bytes(value[:_MAX_BYTES]).decode("utf-8", "backslashreplace"))
    if isinstance(value, (int, float, type(None))):
        return value
    if depth >= _MAX_DEPTH:
        return "[nested too deeply]"
    if isinstance(value, Mapping):
        return redacted_fields(value, depth + 1)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(item, depth + 1) for item in list(value)[:1000]]
    return _searched(_text(value))


def redacted_fields(fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    """`fields` redacted by name, and by pattern in every value."""
    result: dict[str, Any] = {}
    for key, value in list(fields.items())[:1000]:
        name = key if isinstance(key, str) else _text(key)
        result[name] = REDACTED if secret_name(name, value) else redacted(value, depth)
    return result


def _searched(text: str) -> str:
    """The beginning of `text`, scrubbed. Half a secret looks like none, so the word in which the text is cut goes."""
    if len(text) <= _MAX_TEXT:
        return scrub(text)
    clean = scrub(text[:_MAX_TEXT])
    return clean[:-_MAX_SECRET] + _LAST_WORD.sub("", clean[-_MAX_SECRET:])


def _text(value: object) -> str:
    """`str(value)`, whatever its `__str__` does."""
    try:
        return str(value)
    except Exception as error:
        return f"[{type(value).__name__} that cannot be shown: {type(error).__name__}]"
