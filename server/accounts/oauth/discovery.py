"""What an OpenID provider publishes about itself: its addresses, and the keys with which it signs.

Formats: OpenID Connect Discovery 1.0 (https://openid.net/specs/openid-connect-discovery-1_0.html), JSON Web Key Set (RFC 7517).
"""

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from .providers import OpenIDClient
from .remembered import Remembered
from .upstream import Asked, Unfit, Upstream

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

MOST_KEYS = 64
LEAST_RSA_BITS = 2_048
"""RFC 7518, section 3.3."""
TENANT = "{tenantid}"
"""What Microsoft writes into the issuer of a document that is for many tenants; each token names its own."""


class Metadata(NamedTuple):
    """How a provider is used. `basic` tells how we show who we are, `names_itself` whether its answers say whose they are (RFC 9207)."""

    issuer: str
    authorization: str
    token: str
    keys: str
    userinfo: str | None
    basic: bool
    names_itself: bool


class Discovery:
    """What the provider of `client` publishes."""

    def __init__(self, client: OpenIDClient, upstream: Upstream) -> None:
        self._client = client
        self._upstream = upstream
        self._metadata = Remembered(self._fetch_metadata)
        self._keys = Remembered(self._fetch_keys)

    async def metadata(self) -> Metadata:
        """Its addresses. Raises ``ProviderUnavailable``."""
        return await self._metadata.get()

    async def keys(self, than: "KeySet | None" = None) -> "KeySet":
        """The keys with which it signs; with `than` newer ones than those, if that is possible. Raises ``ProviderUnavailable``."""
        return await self._keys.get(than)

    async def _fetch_metadata(self) -> Metadata:
        url = f"{self._client.issuer.rstrip('/')}/.well-known/openid-configuration"
        return await self._upstream.ask(Asked(self._client.id, "discovery", url), self._read_metadata)

    async def _fetch_keys(self) -> "KeySet":
        url = (await self.metadata()).keys
        return await self._upstream.ask(Asked(self._client.id, "keys", url), _read_keys)

    def _read_metadata(self, found: Any) -> Metadata:
        if not isinstance(found, dict) or not _is_for(self._client.issuer, found.get("issuer")):
            raise Unfit("ANOTHER_ISSUER")
        methods = found.get("token_endpoint_auth_methods_supported")
        return Metadata(
            issuer=found["issuer"],
            authorization=self._address(found.get("authorization_endpoint")),
            token=self._address(found.get("token_endpoint")),
            keys=self._address(found.get("jwks_uri")),
            userinfo=self._address(found["userinfo_endpoint"]) if found.get("userinfo_endpoint") else None,
            # The one that every provider has to know, unless it says otherwise.
            basic=not isinstance(methods, list)
            or "client_secret_basic" in methods
            or "client_secret_post" not in methods,
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        )

    def _address(self, value: object) -> str:
        if not isinstance(value, str) or not self._upstream.may_use(value):
            raise Unfit("BAD_ENDPOINT")
        return value


def _read_keys(found: Any) -> "KeySet":
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise Unfit("NO_KEYS")
    return key_set(listed)


def key_set(listed: list[Any]) -> "KeySet":
    """Those of the `listed` keys that may sign and are fit to; what else is there, of whatever shape, is passed over."""
    from joserfc.errors import SecurityWarning
    from joserfc.jwk import KeySet

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # Of a small key, which is passed over.
        return KeySet([key for key in map(_key, listed[:MOST_KEYS]) if key is not None])


def _key(described: Any) -> Any:
    from joserfc.jwk import JWKRegistry, RSAKey

    if not isinstance(described, dict) or described.get("use", "sig") != "sig":
        return None
    if described.get("kty") not in {"RSA", "EC", "OKP"}:
        return None  # Above all no shared secret: whoever can read it could sign with it.
    public: dict[str, str | list[str]] = {
        name: value
        for name, value in described.items()
        if name in {"kty", "use", "kid", "alg", "n", "e", "crv", "x", "y"} and isinstance(value, str)
    }
    try:
        key = JWKRegistry.import_key(public)
        size = key.public_key.key_size if isinstance(key, RSAKey) else LEAST_RSA_BITS
    except Exception:  # Whatever stands there, it is no key, and the next one may be.
        return None
    return key if size >= LEAST_RSA_BITS else None


def _is_for(wanted: str, issuer: object) -> bool:
    """Whether a document that was found at `wanted` may call itself `issuer`."""
    if not isinstance(issuer, str):
        return False
    if issuer == wanted:
        return True
    # Microsoft's documents for many tenants, and those for one that is asked for by its domain, see `TENANT`.
    here, there = wanted.split("/"), issuer.split("/")
    return here[:3] == there[:3] == ["https:", "", "login.microsoftonline.com"] and here[4:] == there[4:]
