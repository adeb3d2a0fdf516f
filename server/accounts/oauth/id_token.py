"""An ID token says who somebody is, to us, now, in answer to this one request; or it says nothing.

It came over TLS from the provider itself, and is verified all the same: its signature by the provider's published keys and one of the
algorithms that the provider is known to use, whatever the token asks for; then everything that ties it to us and to this sign-in.

Rules: OpenID Connect Core 1.0, section 3.1.3.7 (https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation), RFC 8725.
"""

import base64
import hashlib
import hmac
import re
import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from .discovery import TENANT
from .identity import NotVouched

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

LEEWAY_SECONDS = 60
"""How far the provider's clock may be from ours."""
LONGEST = 16_384
LONGEST_HEADER = 8_192
LONGEST_SUBJECT = 255
_GUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII)
_HALVED = {"RS256": "sha256", "PS256": "sha256", "ES256": "sha256", "EdDSA": "sha512", "Ed25519": "sha512"}
"""By which hash a token names another, for each way to sign."""


class Expected(NamedTuple):
    """What an ID token has to fit. `now` is in seconds since 1970; `access_token` is the one that came with it."""

    issuer: str
    client_id: str
    algorithms: Collection[str]
    nonce: str
    access_token: str
    now: int


class KeyMissing(NotVouched):
    """The token is signed with a key that is not among those; perhaps among newer ones."""

    def __init__(self) -> None:
        super().__init__("id_token_key")


def verified(token: object, keys: "KeySet", expected: Expected) -> dict[str, Any]:
    """The claims of `token`. Raises ``NotVouched``, and ``KeyMissing`` for a key that is not one of `keys`."""
    if not isinstance(token, str) or len(token) > LONGEST:
        raise NotVouched("id_token_malformed")
    algorithm, claims = _signed(token, keys, expected.algorithms)
    _check_claims(claims, expected)
    hashed = claims.get("at_hash")
    if hashed is not None and not _same(hashed, _half(_HALVED[algorithm], expected.access_token)):
        raise NotVouched("id_token_at_hash")
    return claims


def _signed(token: str, keys: "KeySet", algorithms: Collection[str]) -> tuple[str, dict[str, Any]]:
    """With which algorithm it is signed, and what."""
    from joserfc import errors, jwt
    from joserfc.jws import JWSRegistry

    # Providers may put names of their own into the header. What it calls critical has to be understood in any case.
    rules = JWSRegistry(algorithms=list(algorithms), strict_check_header=False)
    rules.max_header_length = LONGEST_HEADER  # Some put certificates into it, which nobody here looks at.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", errors.SecurityWarning
            )  # EdDSA has a newer name, and is no worse.
            decoded = jwt.decode(token, keys, registry=rules)
        return decoded.header["alg"], decoded.claims
    except errors.InvalidKeyIdError:
        raise KeyMissing from None
    except errors.UnsupportedAlgorithmError:
        raise NotVouched("id_token_algorithm") from None
    except errors.BadSignatureError:
        raise NotVouched("id_token_signature") from None
    except Exception:  # Whatever else somebody makes of a token, it vouches for nobody.
        raise NotVouched("id_token_malformed") from None


def _check_claims(claims: dict[str, Any], expected: Expected) -> None:
    from joserfc import errors
    from joserfc.jwt import JWTClaimsRegistry

    rules = JWTClaimsRegistry(
        now=expected.now,
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": _issuer(expected.issuer, claims)},
        aud={"essential": True, "value": expected.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        rules.validate(claims)
    except errors.ExpiredTokenError:
        raise NotVouched("id_token_expired") from None
    except errors.ClaimError as error:
        name = error.claim if error.claim in {"iss", "aud", "sub", "exp", "iat", "nbf"} else "claims"
        raise NotVouched(f"id_token_{name}") from None
    if len(claims["sub"]) > LONGEST_SUBJECT or not claims["sub"].isprintable():
        raise NotVouched("id_token_sub")
    # A token for several names the one that asked for it, and that has to be us.
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else expected.client_id) != expected.client_id:
        raise NotVouched("id_token_azp")
    if not _same(claims.get("nonce"), expected.nonce):
        raise NotVouched("id_token_nonce")


def _issuer(issuer: str, claims: dict[str, Any]) -> str:
    """The issuer that `claims` have to name; where it holds every tenant, that of the tenant which they name."""
    if TENANT not in issuer:
        return issuer
    tenant = claims.get("tid")
    if not isinstance(tenant, str) or not _GUID.fullmatch(tenant):
        raise NotVouched("id_token_iss")
    return issuer.replace(TENANT, tenant)


def _same(told: object, expected: str) -> bool:
    return isinstance(told, str) and hmac.compare_digest(told.encode("utf-8", "replace"), expected.encode())


def _half(algorithm: str, token: str) -> str:
    """The left half of a token's hash (OpenID Connect Core 1.0, section 3.1.3.6)."""
    digest = hashlib.new(algorithm, token.encode("utf-8", "replace")).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
