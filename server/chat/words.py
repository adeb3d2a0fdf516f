"""Words as the full-text index sees them: split, folded, stemmed, and without those that every question has.

SQLite's index does this to documents on its own (`porter unicode61`). Here the same is done to questions, to the passages
found, and to every passage that PostgreSQL keeps, so that "requests are traced" bears on "how do I trace a request"; a test compares the two stemmers.
"""

import re
import unicodedata
from functools import lru_cache

WORD = re.compile(r"[^\W_]+")
"""A run of letters and digits, as `unicode61` parts words."""
# The C0 control characters but tab and line ends, DEL, and the C1 ones; halves of characters, which cannot be encoded.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_HIGH = re.compile("[^\x00-\u02ff]")
"""Where the accents are, among others."""

_ASCII_WORDS = bytes(
    ord(chr(code).lower() if code < 128 and chr(code).isalnum() else " ") for code in range(256)
)
"""For each byte of a text in ASCII what it is in a word, or a space."""

_HOW_MUCH = re.compile(
    r"\bhow\s+(?:big|deep|early|far|fast|frequently|high|large|late|long|often|old|quickly|small|soon|wide)\b",
    re.IGNORECASE,
)

# Words that say that something is asked, not what about. Negations and quantities stay: they can be what matters.
STOP_WORDS = frozenset(
    """
    a about above after again all also am an and any anyone anything are aren as at be because been before being below between
    both but by came can cannot could couldn d did didn do does doesn doing don done down during each either else ever every few
    for from further gave get gets getting give gives go goes going got had hadn has hasn have haven having he hello help
    her here hers herself hey hi him himself his how however i if in into is isn it its itself just kindly know let like ll m
    many may me might mine more most much must mustn my myself need needn neither nor now of off on once only or other ought our
    ours ourselves out over own please re s same shall shan she should shouldn show so some somebody someone something such t
    tell than thank thanks that the their theirs them themselves then there these they thing things this those through to too
    toward towards under until up upon us ve very want wants was wasn way we were weren what whatever when where whether
    which while who whoever whom whose why will with within without won would wouldn you your yours yourself yourselves
    explain describe find made make makes making mean means meaning happen happens take taken takes taking took work works
    """.split()
)


def printable(text: str) -> str:
    """`text` with every character that cannot be stored or shown as a space; its length stays."""
    return _UNPRINTABLE.sub(" ", text)


@lru_cache(maxsize=50_000)
def folded(word: str) -> str:
    """`word` in lower case without accents, as `unicode61` folds it."""
    if word.isascii():
        return word.lower()
    decomposed = unicodedata.normalize("NFD", word.lower())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def words(text: str) -> list[str]:
    """The words of `text` as `folded` has them, in order; a letter and its accent are one."""
    if text.isascii():  # A third of what the regular expression takes.
        return text.encode().translate(_ASCII_WORDS).decode().split()
    text = unicodedata.normalize("NFD", text.lower())
    for mark in filter(unicodedata.combining, set(_HIGH.findall(text))):
        text = text.replace(mark, "")
    return WORD.findall(text)


def stems(text: str) -> list[str]:
    """The stem of every word of `text`, in order."""
    return [stem(word) for word in WORD.findall(text)]


def terms(question: str, limit: int) -> dict[str, str]:
    """The first `limit` different words of `question` that say what it is about: stem to folded word, in order."""
    found: dict[str, str] = {}
    # Composed, so that a letter and its accent are one word. "How large" asks for a figure, not for what is large.
    asked = _HOW_MUCH.sub(" ", unicodedata.normalize("NFC", printable(question)))
    for match in WORD.finditer(asked):
        word = folded(match[0])
        if word and word not in STOP_WORDS:
            found.setdefault(stem(word), word)
            if len(found) == limit:
                break
    return found


# ── Porter's stemmer ────────────────────────────────────────────────────────────────────────────────────────────────────
# M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980; the steps are numbered as there. It is the original,
# without later amendments, because that is what SQLite has (https://sqlite.org/fts5.html#porter_tokenizer).

_STEP_2 = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("logi", "log"), ("bli", "ble"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"), ("ator", "ate"),
    ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"), ("iviti", "ive"),
    ("biliti", "ble"),
)  # fmt: skip
_STEP_3 = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP_4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti", "ous",
    "ive", "ize",
)  # fmt: skip


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The stem of `word` (in any case): "requests" and "requested" are both "request"."""
    word = folded(word)
    # As SQLite does: what is shorter or longer than a word stays. Other scripts are folded, never stemmed.
    if not 3 <= len(word) <= 64 or not word.isascii():
        return word
    return _step_5(_step_4(_replaced(_replaced(_step_1(word), _STEP_2), _STEP_3)))


def _shape(text: str) -> str:
    """`text` as v (vowel) and c (consonant); y is a vowel after a consonant."""
    shape = ""
    for letter in text:
        shape += "v" if letter in "aeiou" or (letter == "y" and shape.endswith("c")) else "c"
    return shape


def _measure(text: str) -> int:
    """Porter's m: how many times a vowel is followed by a consonant."""
    return _shape(text).count("vc")


def _short(text: str) -> bool:
    """Porter's *o: ends consonant, vowel, consonant, and the last is not w, x or y."""
    return _shape(text).endswith("cvc") and text[-1] not in "wxy"


def _step_1(word: str) -> str:
    """Plurals, -ed, -ing, and y after a consonant."""
    # An ending is never the whole word.
    if word[1:].endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]

    if word[1:].endswith("eed"):
        word = word[:-1] if _measure(word[:-3]) > 0 else word
    else:
        for suffix in ("ed", "ing"):
            if word.endswith(suffix) and "v" in _shape(word[: -len(suffix)]):
                word = word[: -len(suffix)]
                if word.endswith(("at", "bl", "iz")):
                    word += "e"
                elif word[-1] == word[-2:-1] and word[-1] not in "aeioulsz":
                    word = word[:-1]
                elif _measure(word) == 1 and _short(word):
                    word += "e"
                break

    if word.endswith("y") and "v" in _shape(word[:-1]):
        word = word[:-1] + "i"
    return word


def _replaced(word: str, endings: tuple[tuple[str, str], ...]) -> str:
    """`word` with the one of `endings` that it has replaced, if a syllable is left before it."""
    for suffix, replacement in endings:
        if word.endswith(suffix):
            rest = word[: -len(suffix)]
            return rest + replacement if _measure(rest) > 0 else word
    return word


def _step_4(word: str) -> str:
    """Endings that go when two syllables are left before them; the longest that fits decides."""
    suffix = max((ending for ending in _STEP_4 if word.endswith(ending)), key=len, default="")
    rest = word[: len(word) - len(suffix)]
    if not suffix or _measure(rest) < 2 or (suffix == "ion" and not rest.endswith(("s", "t"))):
        return word
    return rest


def _step_5(word: str) -> str:
    """A last e, and one of two last l."""
    if word.endswith("e"):
        m = _measure(word[:-1])
        if m > 1 or (m == 1 and not _short(word[:-1])):
            word = word[:-1]
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word
