"""One mailbox is one address; what is none is refused with a reason."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import InvalidEmail
from server.mail.address import normalized
from tests.shared import naughty_strings


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada.Lovelace@Example.COM", "ada.lovelace@example.com"),
        ("  ada@example.com ", "ada@example.com"),
        ("ada+chat@example.com", "ada+chat@example.com"),
        ("a.d.a@example.com", "a.d.a@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
        ("ADA@BÜCHER.example", "ada@xn--bcher-kva.example"),
        ("Jörg@example.com", "jörg@example.com"),
        ("Jo\u0308rg@example.com", "jörg@example.com"),
        ("straße@example.com", "straße@example.com"),
        ("\u212aen@example.com", "ken@example.com"),  # the Kelvin sign is the letter K
        (f"{'x' * 64}@example.com", f"{'x' * 64}@example.com"),
    ],
)
def test_what_people_type_is_kept_in_one_form(typed: str, kept: str) -> None:
    assert normalized(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "", "ada", "@example.com", "ada@", "ada@example", "ada@localhost", "ada@[127.0.0.1]", "ada@127.0.0.1", "ada@@example.com",
        "ada@example.com.", "ada@-example.com", "ada..b@example.com", ".ada@example.com", "ada b@example.com", "ada\t@example.com",
        '"ada b"@example.com', "Ada <ada@example.com>", "ada@example.com, eve@example.net", "ada@example.com\n", "ada\n@example.com",
        "ada@example.com\r\nBcc: eve@example.net", "ada@exam\nple.com", "ada\x00@example.com", "ada@example.com\x00", "\u202eada@example.com",
        "ada@ex\u200bample.com", "ad\ud800a@example.com", f"{'x' * 65}@example.com", f"ada@{'y' * 64}.example", "a@" + "b." * 130 + "example",
        "x" * 100_000, "@" * 10_000, "é@" * 5_000, "ada@" + "é" * 316,
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_a_reason(typed: str) -> None:
    with pytest.raises(InvalidEmail) as refused:
        normalized(typed)
    assert refused.value.code == "invalid_email"
    assert refused.value.message.endswith(".")
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 300


def test_no_naughty_string_is_anything_but_an_address_or_refused() -> None:
    for text in naughty_strings():
        for typed in (text, f"{text}@example.com", f"ada@{text}.example"):
            try:
                address = normalized(typed)
            except InvalidEmail:
                continue
            assert_fit_to_be_kept(address)


def assert_fit_to_be_kept(address: str) -> None:
    assert address.count("@") == 1
    assert address.isprintable()
    assert not any(character.isspace() for character in address)
    assert len(address) <= 254
    assert address.partition("@")[2].isascii()


@settings(max_examples=300, deadline=None)
@given(
    local=st.text(min_size=1, max_size=70),
    domain=st.text(string.ascii_letters + "äß.-\u0131\u0130", max_size=30),
)
def test_what_is_kept_is_fit_and_means_itself(local: str, domain: str) -> None:
    try:
        kept = normalized(f"{local}@{domain}.com")
    except InvalidEmail:
        return
    assert_fit_to_be_kept(kept)
    assert normalized(kept) == kept
