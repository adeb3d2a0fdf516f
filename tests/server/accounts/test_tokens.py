"""Tokens: nobody can guess one, the database holds none, and a key that is taken out finds none."""

import re

import pytest

from server.accounts.tokens import Digester, Purpose, minted, purpose_of

OLD, NEW = b"old" * 11, b"new" * 11


def test_a_token_has_256_random_bits_and_says_what_it_is() -> None:
    tokens = [minted(Purpose.SESSION) for _ in range(1_000)]
    assert len(set(tokens)) == 1_000
    assert all(re.fullmatch(r"cks_[A-Za-z0-9_-]{43}", token) for token in tokens)
    assert {purpose_of(minted(purpose)) for purpose in Purpose} == set(Purpose)


def test_what_has_not_the_form_of_a_token_is_none() -> None:
    good = minted(Purpose.SESSION)
    for text in ("", "cks_", good[:-1], f"{good}x", f" {good}", f"{good}\n", good.upper(), "ckx_" + good[4:]):
        assert purpose_of(text) is None, text


def test_a_digest_serves_one_purpose_and_holds_nothing_of_the_token() -> None:
    digester = Digester([NEW])
    token = minted(Purpose.SESSION)
    digests = {digester.digest(token, purpose) for purpose in Purpose}
    assert len(digests) == len(Purpose)
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)
    assert not any(token[4:12] in digest for digest in digests)


def test_a_rotated_key_still_finds_what_it_made_and_one_taken_out_does_not() -> None:
    token = minted(Purpose.SESSION)
    stored = Digester([OLD]).digest(token, Purpose.SESSION)
    rotated = Digester([NEW, OLD])
    assert stored in rotated.digests(token, Purpose.SESSION)
    assert stored != rotated.digest(token, Purpose.SESSION)
    assert stored not in Digester([NEW]).digests(token, Purpose.SESSION)


def test_what_is_derived_from_a_token_serves_one_use_and_is_the_same_each_time() -> None:
    digester = Digester([NEW])
    token, other = minted(Purpose.FLOW), minted(Purpose.FLOW)
    digest = digester.digest(token, Purpose.FLOW)
    first = digester.derived(token, Purpose.FLOW, digest, "nonce")
    assert len(first) == 32
    assert first == digester.derived(token, Purpose.FLOW, digest, "nonce")
    others = {
        digester.derived(token, Purpose.FLOW, digest, "verifier"),
        digester.derived(other, Purpose.FLOW, digester.digest(other, Purpose.FLOW), "nonce"),
        bytes.fromhex(digest),
    }
    assert first not in others
    assert len(others) == 3


def test_what_is_derived_stays_the_same_under_a_rotated_key_and_is_not_made_without_it() -> None:
    token = minted(Purpose.FLOW)
    digest = Digester([OLD]).digest(token, Purpose.FLOW)
    before = Digester([OLD]).derived(token, Purpose.FLOW, digest, "nonce")
    assert Digester([NEW, OLD]).derived(token, Purpose.FLOW, digest, "nonce") == before
    with pytest.raises(ValueError, match="not in list"):
        Digester([NEW]).derived(token, Purpose.FLOW, digest, "nonce")
