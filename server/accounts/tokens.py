"""Tokens: random, told once, and kept only as a keyed hash that serves one purpose.

    token  = prefix + 43 characters of base64url        256 random bits
    digest = HMAC-SHA-256(key, purpose ‖ 0x00 ‖ token)  as 64 hex digits; only this is stored

Whoever has the database has no token, and whoever has the tokens of one purpose has none of another. `SECRET_KEY` may hold several
keys: the first makes new digests, the others still find what they made, so a key is rotated without anybody being logged out (limits begin anew, and hashes in the log change); one
that is taken out finds nothing any more, which ends every session that it signed.

The prefix lets people, the log's redaction and scanners of repositories see what a token is (https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from enum import StrEnum

_RANDOM_BYTES = 32


class Purpose(StrEnum):
    """What a token is good for, and how it begins."""

    SESSION = "cks_"
    ANONYMOUS = "cka_"
    VERIFICATION = "ckv_"
    STATE = "ckt_"
    FLOW = "ckf_"
    ANSWER = "cko_"


_FORM = {purpose: re.compile(rf"{purpose}[A-Za-z0-9_-]{{43}}", re.ASCII) for purpose in Purpose}


def minted(purpose: Purpose) -> str:
    """A new token. It is told once, and to nobody but the one whom it lets in."""
    return f"{purpose}{secrets.token_urlsafe(_RANDOM_BYTES)}"


def purpose_of(text: str) -> Purpose | None:
    """What `text` is good for, by its form; None when it has not the form of a token."""
    return next((purpose for purpose, form in _FORM.items() if form.fullmatch(text)), None)


class Digester:
    """Makes the digests of tokens with `keys`, at least one; the first makes those that are stored."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def digest(self, token: str, purpose: Purpose) -> str:
        """What is stored of a new `token`."""
        return _digest(self._keys[0], token, purpose)

    def digests(self, token: str, purpose: Purpose) -> list[str]:
        """Whatever may be stored of `token`: one digest a key."""
        return [_digest(key, token, purpose) for key in self._keys]

    def derived(self, token: str, purpose: Purpose, digest: str, use: str) -> bytes:
        """32 bytes for one `use` that only who has `token` and the key that made its `digest` can make again; they need not be kept.

        Raises ``ValueError`` when none of the keys made it.
        """
        key = self._keys[self.digests(token, purpose).index(digest)]
        # No purpose has a colon in its name, so this is the digest of no token.
        message = b"%s:%s\x00%s" % (purpose.name.encode(), use.encode(), token.encode())
        return hmac.new(key, message, hashlib.sha256).digest()


def _digest(key: bytes, token: str, purpose: Purpose) -> str:
    return hmac.new(key, b"%s\x00%s" % (purpose.name.encode(), token.encode()), hashlib.sha256).hexdigest()
