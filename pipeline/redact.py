"""What never reaches a line: secrets, by the name of a field and by their shape in free text.

Names are looked up in a set of words, so a field costs next to nothing. Shapes are searched for only where somebody
else wrote the text (see `catalogue`). Every pattern is linear: each repetition is bounded or ends at a character that it
cannot itself consume, so no text, however hostile, makes the search take longer than its length allows.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

REDACTED = "[redacted]"

# A field is secret when its name holds one of these words ...
_WORDS = frozenset(
    "apikey authorization body cookie cookies credential credentials dsn jwt otp passphrase passwd password passwords"
    " pwd secret secrets sessionid setcookie sid signature".split()
)
# ... or ends in "key", unless that is a kind of key which opens nothing ...
_HARMLESS_KEYS = frozenset("cache foreign idempotency index partition primary public sort storage".split())
# ... or is a link that signs somebody in.
_LINKS = frozenset("href link links uri url urls".split())
_SIGNS_IN = frozenset(
    "confirm confirmation invite login magic reset signin unsubscribe verification verify".split()
)

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")

_SECRET_NAMES: dict[str, bool] = {}
_TOKEN_NAMES: dict[str, bool] = {}
_CACHE_LIMIT = 4096


def _words(name: str) -> list[str]:
    return [word.lower() for word in _SEPARATORS.split(_CAMEL.sub("_", name[:256])) if word]


def _is_secret(words: list[str]) -> bool:
    if not words:
        return False
    if not _WORDS.isdisjoint(words) or "".join(words) in _WORDS:
        return True
    if words[-1] in {"key", "keys"}:
        return len(words) == 1 or words[-2] not in _HARMLESS_KEYS
    if words[-2:] == ["session", "id"]:
        return True
    return not _LINKS.isdisjoint(words) and not _SIGNS_IN.isdisjoint(words)


def secret_name(name: str, value: object = "") -> bool:
    """Whether a field of this name is kept out of the log.

    A number under a name with "token" in it is a count (`tokens_used`), anything else under it is a token.
    """
    secret = _SECRET_NAMES.get(name)
    if secret is None:
        words = _words(name)
        secret = _is_secret(words)
        # Names can come from outside: a cache without a bound would be a leak.
        if len(_SECRET_NAMES) < _CACHE_LIMIT:
            _SECRET_NAMES[name] = secret
            _TOKEN_NAMES[name] = not {"token", "tokens"}.isdisjoint(words)
    if secret:
        return True
    is_token = _TOKEN_NAMES.get(name)
    if is_token is None:
        is_token = not {"token", "tokens"}.isdisjoint(_words(name))
    return is_token and not isinstance(value, (int, float, type(None)))


_KEYWORDS = (
    r"pass(?:word|wd|phrase)|\bpwd|secret|token|credential|signature"
    r"|(?:api|access|private|secret|signing|encryption|client|auth)[_\- ]?key|\botp|\bsession[_-]?id|\bsid"
)
_QUOTE = r"\\{0,3}[\"']"


class Shape(NamedTuple):
    """What a secret looks like. A text that holds none of `hints` cannot match and need not be searched."""

    pattern: re.Pattern[str]
    replacement: str = REDACTED
    hints: tuple[str, ...] = ()


_ASSIGNS = ("=", ":")

_SHAPES = (
    # A private key, to its end or to the end of what there is.
    Shape(
        re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}-----|\Z)", re.DOTALL),
        hints=("-----BEGIN",),
    ),
    # Headers whose whole value is secret, as they stand in a dump of a request.
    Shape(
        re.compile(
            rf"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)((?:{_QUOTE})?\s{{0,3}}[:=]\s{{0,3}})[^\r\n]+"
        ),
        rf"\1\2{REDACTED}",
        _ASSIGNS,
    ),
    Shape(re.compile(r"(?i)\b(bearer|basic|digest)(\s{1,3})[A-Za-z0-9._~+/=-]{6,}"), rf"\1\2{REDACTED}"),
    # scheme://user:password@host
    Shape(re.compile(r"(?<=://)[^\s\"'<>/?#@:]{0,200}:[^\s\"'<>]{1,400}@"), f"{REDACTED}@", ("://",)),
    # Query strings are not logged, and links that sign somebody in carry their token in the path.
    Shape(re.compile(r"\?[\w.%~\[\]-]{1,64}=[^\s\"'<>\\)]*"), f"?{REDACTED}", ("?",)),
    Shape(
        re.compile(
            r"(?i)(/(?:verify|verification|confirm|reset|magic|login|signin|invite)[\w-]{0,20}/)[\w.~%=-]{12,}"
        ),
        rf"\1{REDACTED}",
        ("/",),
    ),
    # name=value, name: "value", and both inside a JSON string inside a string.
    Shape(
        re.compile(
            rf"(?i)({_KEYWORDS})([\w-]{{0,32}}(?:{_QUOTE})?\s{{0,3}}[:=]\s{{0,3}})"
            r"(?:\\{0,3}\"[^\"]{0,8000}\"?|\\{0,3}'[^']{0,8000}'?|[^\s,;&\"'\\}\])]+)"
        ),
        rf"\1\2{REDACTED}",
        _ASSIGNS,
    ),
    # Tokens known by their own look: JSON web tokens and the keys of well-known services.
    Shape(
        re.compile(
            r"\b(?:eyJ[\w-]{6,}\.[\w-]{4,}(?:\.[\w-]*)?|[sprw]k[-_][\w-]{16,}|AKIA[0-9A-Z]{16}|gh[pousr]_\w{20,}"
            r"|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{16,}"
            r"|SG\.[\w-]{16,}\.[\w-]{16,}|npm_\w{30,}|pypi-[\w-]{30,})"
        ),
    ),
)


def scrub(text: str) -> str:
    """`text` without anything that looks like a secret. Time is proportional to its length."""
    for pattern, replacement, hints in _SHAPES:
        if not hints or any(hint in text for hint in hints):
            text = pattern.sub(replacement, text)
    return text


_MAX_DEPTH = 12
_MAX_TEXT = 16_000  # more than a line can hold: what lies beyond is cut anyway and need not be searched


def redacted(value: Any, depth: int = 0) -> Any:
    """`value` with secret fields blanked at any depth and free text scrubbed; what is not JSON is left to `record`."""
    if isinstance(value, str):
        return scrub(value[:_MAX_TEXT])
    if isinstance(value, (bytes, bytearray)):
        return scrub(bytes(value[:_MAX_TEXT]).decode("utf-8", "backslashreplace"))
    if isinstance(value, (int, float, type(None))):
        return value
    if depth >= _MAX_DEPTH:
        return "[nested too deeply]"
    if isinstance(value, Mapping):
        return redacted_fields(value, depth + 1)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(item, depth + 1) for item in list(value)[:1000]]
    return scrub(_text(value)[:_MAX_TEXT])


def redacted_fields(fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    """`fields` redacted by name, and by pattern in every value."""
    result: dict[str, Any] = {}
    for key, value in list(fields.items())[:1000]:
        name = key if isinstance(key, str) else _text(key)
        result[name] = REDACTED if secret_name(name, value) else redacted(value, depth)
    return result


def _text(value: object) -> str:
    """`str(value)`, whatever its `__str__` does."""
    try:
        return str(value)
    except Exception as error:
        return f"[{type(value).__name__} that cannot be shown: {type(error).__name__}]"
