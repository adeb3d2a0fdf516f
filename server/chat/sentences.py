"""Where a sentence ends."""

import re

# A full stop, question or exclamation mark with what closes it, then a space and what can begin a sentence; or a CJK one.
_END = re.compile(
    r"""(?<=[.!?\u2026])["'\u201d\u2019)\]]*\s+(?=["'\u201c\u2018(\[`]*[^\Wa-z_])|(?<=[\u3002\uff01\uff1f])"""
)
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|cf|vs|approx|resp|no|nos|fig|sec|ch|p|pp|mr|mrs|ms|dr|prof|st|[A-Za-z])\.$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{1,3}\.")
"""Of an item in a numbered list."""


def sentences(text: str) -> list[str]:
    """The sentences of one paragraph, in order; joined by spaces they are the paragraph."""
    found: list[str] = []
    start = 0
    for end in _END.finditer(text):
        sentence = text[start : end.end()].strip()
        # "e.g. SQLite" goes on; so does what stands between backticks.
        if not sentence or _ABBREVIATED.search(sentence[-12:]) or sentence.count("`") % 2:
            continue
        if _NUMBER.fullmatch(sentence):
            continue
        found.append(sentence)
        start = end.end()
    if rest := text[start:].strip():
        found.append(rest)
    return found
