"""An ID token vouches for somebody only when all of it fits: who signed it and how, for whom, for which sign-in, and when."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey, RSAKey

from server.accounts.oauth.discovery import MOST_KEYS, key_set
from server.accounts.oauth.id_token import LEEWAY_SECONDS, Expected, verified
from server.accounts.oauth.identity import NotVouched
from server.accounts.oauth.providers import ALGORITHMS
from tests.identity_provider import rsa, signed

NOW = 1_800_000_000
OURS, OTHER = rsa("ours"), rsa("ours")
ANY = RSAKey.generate_key(2048, {"kid": "any"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
KEYS = key_set([key.as_dict(private=False) for key in (OURS, ANY, EC, ED)])
GOOD: dict[str, Any] = {
    "iss": "https://login.example",
    "aud": "chatkit",
    "sub": "248289761001",
    "nonce": "n0nce",
    "iat": NOW,
    "exp": NOW + 300,
}
EXPECTED = Expected("https://login.example", "chatkit", ALGORITHMS, "n0nce", "acc3ss", NOW)


def refused(token: object, expected: Expected = EXPECTED, keys: KeySet = KEYS) -> str:
    with pytest.raises(NotVouched) as error:
        verified(token, keys, expected)
    return error.value.reason


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public_pem(key: Key) -> bytes:
    assert isinstance(key, RSAKey)
    return key.as_pem(private=False)


def with_secret(secret: bytes, header: dict[str, Any]) -> str:
    """Signed with a shared secret, by hand: the library would not do it."""
    signing = f"{encoded(header)}.{encoded(GOOD)}"
    return f"{signing}.{encoded(hmac.new(secret, signing.encode(), hashlib.sha256).digest())}"


def by_hand(header: dict[str, Any], key: Key, hashed: hashes.HashAlgorithm | None = None) -> str:
    """Signed with RSA, whatever the header says."""
    signing = f"{encoded(header)}.{encoded(GOOD)}"
    assert isinstance(key, RSAKey)
    assert key.private_key is not None
    signature = key.private_key.sign(signing.encode(), padding.PKCS1v15(), hashed or hashes.SHA256())
    return f"{signing}.{encoded(signature)}"


@pytest.mark.parametrize(
    ("key", "algorithm"), [(OURS, "RS256"), (ANY, "PS256"), (EC, "ES256"), (ED, "EdDSA"), (ED, "Ed25519")]
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_good_one_is_taken_however_it_may_be_signed(key: Key, algorithm: str) -> None:
    assert verified(signed(GOOD, key, algorithm), KEYS, EXPECTED) == GOOD


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_one_that_is_not_signed_is_not_taken(algorithm: str) -> None:
    header = {"alg": algorithm, "kid": "ours"}
    for signature in ("", encoded(b"x" * 256), signed(GOOD, OURS).rpartition(".")[2]):
        assert refused(f"{encoded(header)}.{encoded(GOOD)}.{signature}") == "id_token_algorithm"


def test_one_signed_with_the_public_key_as_a_secret_is_not_taken() -> None:
    pem = public_pem(OURS)
    published = json.dumps(OURS.as_dict(private=False)).encode()
    for secret in (pem, pem.strip(), published, OURS.as_dict(private=False)["n"], b"", b"s3cret"):
        for algorithm in ("HS256", "HS384", "HS512"):
            token = with_secret(
                secret if isinstance(secret, bytes) else str(secret).encode(),
                {"alg": algorithm, "kid": "ours"},
            )
            assert refused(token) == "id_token_algorithm"


def test_a_shared_secret_among_the_published_keys_signs_nothing() -> None:
    secret = OctKey.import_key(b"k" * 32, {"kid": "shared"})
    keys = key_set([secret.as_dict(private=True), OURS.as_dict(private=False)])
    assert [key.kid for key in keys] == ["ours"]
    assert refused(with_secret(b"k" * 32, {"alg": "HS256", "kid": "shared"}), keys=keys)


def test_the_token_has_no_say_in_how_it_is_verified() -> None:
    usual = {"alg": "RS256", "kid": "ours"}
    assert verified(by_hand(usual, OURS), KEYS, EXPECTED) == GOOD
    for more in (
        {"jwk": OTHER.as_dict(private=False)},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MIIB"]},
    ):
        assert refused(by_hand(usual | more, OTHER)) == "id_token_signature"
    odd: list[dict[str, Any]] = [{"crit": ["b64"], "b64": False}, {"crit": ["mine"], "mine": 1}]
    for critical in odd:
        assert refused(by_hand(usual | critical, OURS)) == "id_token_malformed"


def test_an_algorithm_that_the_provider_does_not_use_is_not_taken() -> None:
    only = EXPECTED._replace(algorithms=("RS256",))
    assert refused(signed(GOOD, EC, "ES256"), only) == "id_token_algorithm"
    for algorithm, hashed in (
        ("RS384", hashes.SHA384()),
        ("RS512", hashes.SHA512()),
        ("RS1", hashes.SHA256()),
    ):
        assert refused(by_hand({"alg": algorithm, "kid": "any"}, ANY, hashed)) == "id_token_algorithm"


def test_a_key_of_another_kind_than_the_algorithm_verifies_nothing() -> None:
    signature = signed(GOOD, EC, "ES256").rpartition(".")[2]
    for header in (
        {"alg": "RS256", "kid": "ec"},
        {"alg": "ES256", "kid": "ours"},
        {"alg": "EdDSA", "kid": "ours"},
    ):
        assert refused(f"{encoded(header)}.{encoded(GOOD)}.{signature}").startswith("id_token_")


def test_one_signed_by_somebody_else_or_changed_since_is_not_taken() -> None:
    assert refused(signed(GOOD, OTHER)) == "id_token_signature"
    head, _, tail = signed(GOOD, OURS).split(".")
    assert refused(f"{head}.{encoded(GOOD | {'sub': 'somebody else'})}.{tail}") == "id_token_signature"


@pytest.mark.parametrize("header", [{"kid": "nobody's"}, {"kid": ""}, {}])
def test_one_that_names_no_known_key_is_not_taken(header: dict[str, Any]) -> None:
    assert refused(by_hand({"alg": "RS256"} | header, OURS)) == "id_token_key"


def test_without_a_name_the_only_key_will_do() -> None:
    only = key_set([OURS.as_dict(private=False)])
    assert verified(by_hand({"alg": "RS256"}, OURS), only, EXPECTED) == GOOD
    assert refused(by_hand({"alg": "RS256"}, OTHER), keys=only) == "id_token_signature"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iss": "https://evil.example"}, "id_token_iss"), ({"iss": "https://login.example/"}, "id_token_iss"), ({"iss": None}, "id_token_iss"), ({"iss": ["https://login.example"]}, "id_token_iss"),
        ({"aud": "another"}, "id_token_aud"), ({"aud": []}, "id_token_aud"), ({"aud": None}, "id_token_aud"), ({"aud": {"chatkit": 1}}, "id_token_aud"),
        ({"aud": ["chatkit", "another"]}, "id_token_azp"), ({"aud": ["chatkit", "another"], "azp": "another"}, "id_token_azp"), ({"azp": "another"}, "id_token_azp"), ({"azp": None}, "id_token_azp"),
        ({"sub": None}, "id_token_sub"), ({"sub": 7}, "id_token_sub"), ({"sub": ""}, "id_token_sub"), ({"sub": "x" * 256}, "id_token_sub"), ({"sub": "a\0b"}, "id_token_sub"), ({"sub": "\ud800"}, "id_token_sub"),
        ({"exp": NOW - LEEWAY_SECONDS}, "id_token_expired"), ({"exp": None}, "id_token_exp"), ({"exp": "never"}, "id_token_exp"), ({"exp": True}, "id_token_exp"), ({"exp": float("nan")}, "id_token_exp"), ({"exp": float("inf")}, "id_token_exp"),
        ({"iat": NOW + LEEWAY_SECONDS + 1}, "id_token_iat"), ({"iat": None}, "id_token_iat"), ({"iat": "now"}, "id_token_iat"),
        ({"nbf": NOW + LEEWAY_SECONDS + 1}, "id_token_nbf"),
        ({"nonce": "another"}, "id_token_nonce"), ({"nonce": None}, "id_token_nonce"), ({"nonce": ""}, "id_token_nonce"), ({"nonce": ["n0nce"]}, "id_token_nonce"), ({"nonce": "\ud800"}, "id_token_nonce"),
        ({"at_hash": "another"}, "id_token_at_hash"), ({"at_hash": 7}, "id_token_at_hash"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_not_taken(change: dict[str, Any], reason: str) -> None:
    assert refused(signed(GOOD | change, OURS)) == reason


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat", "nonce"])
def test_what_has_to_be_there_is(name: str) -> None:
    claims = {key: value for key, value in GOOD.items() if key != name}
    assert refused(signed(claims, OURS)) == f"id_token_{name}"


@pytest.mark.parametrize(
    "change",
    [
        {"aud": ["chatkit"]}, {"aud": ["chatkit", "another"], "azp": "chatkit"}, {"exp": NOW - LEEWAY_SECONDS + 1},
        {"iat": NOW + LEEWAY_SECONDS}, {"iat": NOW - 10**6}, {"extra": {"any": "thing"}},
        {"at_hash": base64.urlsafe_b64encode(hashlib.sha256(b"acc3ss").digest()[:16]).rstrip(b"=").decode()},
    ],
)  # fmt: skip
def test_what_fits_is_taken(change: dict[str, Any]) -> None:
    assert verified(signed(GOOD | change, OURS), KEYS, EXPECTED) == GOOD | change


def test_a_document_for_many_tenants_takes_the_tenant_that_the_token_names_and_no_other_issuer() -> None:
    tenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
    many = EXPECTED._replace(issuer="https://login.microsoftonline.com/{tenantid}/v2.0")
    own = {"iss": f"https://login.microsoftonline.com/{tenant}/v2.0", "tid": tenant}
    assert verified(signed(GOOD | own, OURS), KEYS, many)["tid"] == tenant
    for change in (
        {"tid": "00000000-0000-0000-0000-000000000000"},
        {"tid": None},
        {"tid": "{tenantid}", "iss": many.issuer},
        {"tid": "x/../y", "iss": "https://login.microsoftonline.com/x/../y/v2.0"},
        {"iss": "https://evil.example"},
    ):
        assert refused(signed(GOOD | own | change, OURS), many) == "id_token_iss"


def test_keys_that_are_not_fit_to_sign_are_passed_over() -> None:
    with pytest.warns(SecurityWarning):
        small = RSAKey.import_key(rsa_keys.generate_private_key(65537, 1024), {"kid": "small"})
    good = OURS.as_dict(private=False)
    odd: list[Any] = [
        None, 7, "key", [], {}, {"kty": "RSA"}, {"kty": "RSA", "n": 7, "e": "AQAB"}, {"kty": "EC", "crv": "none", "x": "", "y": ""},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"}, good | {"use": "enc"}, small.as_dict(private=False),
    ]  # fmt: skip
    assert [key.kid for key in key_set([*odd, good])] == ["ours"]
    assert not any(key.is_private for key in key_set([OURS.as_dict(private=True)]))
    assert len(key_set([good | {"kid": str(number)} for number in range(500)]).keys) == MOST_KEYS


def test_one_that_is_too_long_is_not_looked_at() -> None:
    assert refused(signed(GOOD | {"extra": "x" * 20_000}, OURS)) == "id_token_malformed"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | _JSON)
def test_whatever_is_no_token_vouches_for_nobody(token: object) -> None:
    assert refused(token)


@settings(max_examples=300, deadline=None)
@given(_JSON, _JSON, st.binary(max_size=80))
def test_whatever_is_put_into_its_parts_vouches_for_nobody(
    header: Any, payload: Any, signature: bytes
) -> None:
    assert refused(f"{encoded(header)}.{encoded(payload)}.{encoded(signature)}")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted({*GOOD, "azp", "at_hash", "nbf", "tid"})), _JSON)
def test_whatever_one_claim_is_the_answer_is_yes_or_no(name: str, value: Any) -> None:
    try:
        claims = verified(signed(GOOD | {name: value}, OURS), KEYS, EXPECTED)
    except NotVouched:
        return
    assert name in {"nbf", "tid", "exp", "iat", "sub"} or claims[name] == GOOD.get(name)
