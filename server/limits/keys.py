"""Who is counted, hidden behind a keyed hash: what counts, Redis above all, never learns an address, an account or an e-mail."""

import hashlib
import hmac
from typing import NamedTuple


class Key(NamedTuple):
    """Somebody, as a `kind` (`user`, `session`, `address`, `email`) and a keyed hash; `times` as much as a policy says is allowed."""

    kind: str
    digest: str
    times: int = 1


class Keys:
    """Makes keys. `secret` must be the same in all processes that count together."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def user(self, account: str) -> Key:
        """A person with an account."""
        return self._key("user", account)

    def session(self, session: str) -> Key:
        """An anonymous visitor."""
        return self._key("session", session)

    def address(self, network: str, times: int = 1) -> Key:
        """Where somebody asks from, as `server.middleware.security.network_of` has it."""
        return self._key("address", network)._replace(times=times)

    def email(self, address: str) -> Key:
        """A mailbox. What stands behind a `+` is left out, because such addresses lead to the same one."""
        name, at, domain = address.strip().casefold().rpartition("@")
        return self._key("email", f"{name.partition('+')[0] or name}{at}{domain}")

    def _key(self, kind: str, value: str) -> Key:
        text = f"limits:{kind}:{value}".encode("utf-8", "backslashreplace")
        return Key(kind, hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32])
