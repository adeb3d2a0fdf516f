"""Where an answer may lead, and what becomes of a word that leads elsewhere.

A word is a run of ASCII characters without white space: no address and no link's target goes beyond one, so each can be judged by
itself. Allowed are the addresses of the sources and of the site that they are on; in code also this machine and the names that are
reserved for examples (RFC 2606), because there they are text that somebody copies. What is not allowed is replaced by words that say
so, never by nothing: what is left on both sides must not grow together into something else.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from .extract import SELECTION
from .models import Source

REMOVED_LINK = "(link removed)"
REMOVED = "(removed)"

# One that is allowed to lead anywhere is written plainly: no user, no backslash, nothing that two readers read in two ways.
_PLAIN = re.compile(
    r"(https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?(?:[/?#][\w/.~%!$&'*+,=:@?#-]*)?",
    re.ASCII | re.IGNORECASE,
)
_LINK = re.compile(r"(!?)(\[?)([^\[\]]{0,200}+)\]\(([^()\[\]]*+)\)")
_MARKERS = re.compile(r"\\*\[(\d{1,3}(?:, ?\d{1,3})*)\\*\]")
# Markdown takes a backslash before punctuation away.
_ADDRESS = re.compile(r"\\*:\\*/\\*/")
_WWW = re.compile(r"(?<![a-z0-9.-])www\\*\.[a-z0-9]", re.IGNORECASE)
_SCRIPT = re.compile(
    r"(?:(?:java|vb|live)script|view-source|blob|filesystem)\\*:(?=\S)|data\\*:(?=[a-z0-9.+-]+/|[;,])|file\\*:(?=/)",
    re.IGNORECASE,
)
_SCRIPT_BEGINS = re.compile(r"(?:java|vb|live)script\\*:\Z", re.IGNORECASE)
_SUSPECT = re.compile(r"[\[\]:&]|www\\*\.", re.IGNORECASE)
"""Without any of these a word leads nowhere and marks nothing."""
# In code, quotes and brackets end an address, and what is no address of the web, such as a database's, is nobody's link.
_IN_CODE = re.compile(
    r"(?<![a-z0-9+.-])[a-z0-9+.-]*?(?:https?|ftp|wss?|gopher)://[^\s\"'<>`(){}\[\]|\\,;]+", re.IGNORECASE
)
_IMAGE = re.compile(r"[\\!]*!\[")
_ENTITY = re.compile(r"&(?=#?[a-z0-9]{1,32};)", re.IGNORECASE)
_TARGET = re.compile(r"\](?=[(:])")
_SCHEME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-\\"
CLOSING = ").,;:!?'\"*_]}>|"
"""What may stand behind an address and belongs to the sentence."""
_MOST_PASSES = 8
"""A word that is still changing after so many is up to something."""

_HERE = frozenset({"localhost", "127.0.0.1", "[::1]"})
_EXAMPLES = ("example.com", "example.net", "example.org")

Site = tuple[str, str, str]


class Judged(NamedTuple):
    """A word as it may be shown, how many things were taken from it, and whether an address is left in it."""

    text: str
    removed: int = 0
    leads: bool = False


class Links:
    """Where an answer that rests on `sources` may lead."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._count = len(sources)
        # The page on which something was marked is only what the visitor's browser says.
        documents = [source for source in sources if source.id != SELECTION]
        addresses = {source.url for source in documents if _is_address(source.url)}
        self._addresses = addresses | {address.partition("#")[0] for address in addresses} - {""}
        self._sites = {site for address in addresses if (site := _site(address)) is not None}

    def allows(self, address: str) -> bool:
        """Whether a link may lead to `address`."""
        return address in self._addresses or _site(address) in self._sites

    def in_code(self, word: str) -> Judged:
        """A word within code: its addresses are text, which somebody copies all the same."""
        if "://" not in word:
            return Judged(word)
        removed, leads = 0, False

        def judged(found: re.Match[str]) -> str:
            nonlocal removed, leads
            address, after = _closed(found[0])
            if self.allows(address) or _is_example(address):
                leads = True
                return found[0]
            removed += 1
            return REMOVED_LINK + after

        return Judged(_IN_CODE.sub(judged, word), removed, leads)

    def in_prose(self, word: str) -> Judged:
        """A word of ordinary text: no foreign link or address, no image, no script, no marker of a source that there is not."""
        if not _SUSPECT.search(word):
            return Judged(word)
        word, removed = self._settled(word)
        parts: list[Judged] = []
        start = 0
        for link in _LINK.finditer(word) if "](" in word else ():
            parts.append(self._plain(word[start : link.start()]))
            # Only allowed ones are left; what they are called may still hold anything.
            called = self._plain(link[3])
            # Where the bracket was opened in an earlier word, what it is called by may end with an address.
            joint = "] (" if called.leads and not link[2] else "]("
            parts.append(Judged(f"{link[2]}{called.text}{joint}{link[4]})", called.removed, leads=True))
            start = link.end()
        rest = word[start:]
        if start and rest.strip(CLOSING):
            parts.append(Judged(" "))  # Nothing may grow on to the address of a link.
        parts.append(self._plain(rest))
        removed += sum(part.removed for part in parts)
        return Judged("".join(part.text for part in parts), removed, any(part.leads for part in parts))

    def _settled(self, word: str) -> tuple[str, int]:
        """`word` without foreign links and empty markers, looked at until nothing changes: what is left may have grown together."""
        removed = 0

        def linked(link: re.Match[str]) -> str:
            nonlocal removed
            image, opened, called, target = link.groups()
            if self.allows(target) and not image:
                return link[0]
            removed += 1
            # A bracket that was opened in an earlier word went out with it, and is closed.
            return called if opened else f"{called}]"

        def marked(markers: re.Match[str]) -> str:
            nonlocal removed
            numbers = [int(number) for number in markers[1].split(",")]
            kept = [number for number in numbers if 0 < number <= self._count]
            removed += len(numbers) - len(kept)
            return "".join(f"[{number}]" for number in kept)

        for _ in range(_MOST_PASSES):
            before = word
            if "](" in word:
                word = _LINK.sub(linked, word)
            # The number that a link is called by is no marker.
            word = _MARKERS.sub(marked, word)
            if word == before:
                return word, removed
        return REMOVED, removed + 1

    def _plain(self, text: str) -> Judged:
        """`text` without addresses that lead elsewhere, and with nothing in it that a reader of Markdown takes for a link."""
        begins = _begin(text)
        if begins < 0:
            return Judged(_unlinked(text), 0, leads=_SCRIPT_BEGINS.search(text) is not None)
        before, (address, after) = text[:begins], _closed(text[begins:])
        if self.allows(address) or self.allows(f"https://{address}"):
            return Judged(_unlinked(before) + address + _unlinked(after), 0, leads=True)
        return Judged(_unlinked(f"{before}{REMOVED_LINK}{after}"), 1)


def _begin(text: str) -> int:
    """Where the first thing begins in `text` that leads somewhere; -1 when nothing does."""
    found = [match.start() for pattern in (_WWW, _SCRIPT) if (match := pattern.search(text)) is not None]
    if (address := _ADDRESS.search(text)) is not None:
        found.append(len(text[: address.start()].rstrip(_SCHEME_CHARACTERS)))
    return min(found, default=-1)


def _unlinked(text: str) -> str:
    """`text` in which no bracket makes a link, an image or a definition, and nothing stands for another character."""
    if "[" in text or "]" in text:
        text = _TARGET.sub("] ", _IMAGE.sub("[", text))
    return _ENTITY.sub("& ", text) if "&" in text else text


def _closed(text: str) -> tuple[str, str]:
    """An address, and the punctuation behind it that belongs to the sentence."""
    end = len(text.rstrip(CLOSING))
    # A bracket that the address opened is its own.
    while text.count("(", 0, end) > text.count(")", 0, end) and text.startswith(")", end):
        end += 1
    return text[:end], text[end:]


def _site(address: str) -> Site | None:
    """Scheme, host and port of a plain address. One that carries another address may lead on to there."""
    found = _PLAIN.fullmatch(address)
    if found is None or address.count("://") > 1:
        return None
    return found[1].lower(), found[2].lower().rstrip("."), found[3] or ""


def _is_address(url: str) -> bool:
    """Whether a source's `url` is one to link to: on this site, or http."""
    ours = ":" not in url and not url.startswith("//")
    return bool(url) and (ours or urlsplit(url).scheme in {"http", "https"})


def _is_example(address: str) -> bool:
    site = _site(address)
    if site is None:
        return False
    return site[1] in _HERE or any(site[1] == name or site[1].endswith(f".{name}") for name in _EXAMPLES)
