"""A key tells apart and tells nothing."""

from server.limits.keys import Keys

KEYS = Keys(b"a secret")


def test_a_key_hides_whom_it_stands_for_behind_a_secret() -> None:
    for key in (KEYS.user("ada"), KEYS.session("ada"), KEYS.address("ada"), KEYS.email("ada")):
        assert "ada" not in key.digest
        assert len(key.digest) == 32
    assert KEYS.user("ada") == KEYS.user("ada") != KEYS.user("bob")
    assert KEYS.user("ada").digest != Keys(b"another").user("ada").digest


def test_the_same_text_is_somebody_else_as_another_kind() -> None:
    digests = {
        KEYS.user("x").digest,
        KEYS.session("x").digest,
        KEYS.address("x").digest,
        KEYS.email("x").digest,
    }
    assert len(digests) == 4


def test_ways_to_write_one_mailbox_are_one_key() -> None:
    same = ["ada@example.com", " Ada@Example.COM ", "ada+1@example.com", "ADA+news+2@example.com"]
    assert len({KEYS.email(address) for address in same}) == 1
    others = ["ada@example.org", "adb@example.com", "+1@example.com", "+2@example.com", "", "ada"]
    assert len({KEYS.email(address) for address in [*others, "ada@example.com"]}) == 7


def test_no_text_is_too_strange_to_be_hidden() -> None:
    assert KEYS.address("\udcff").digest != KEYS.address("\udcfe").digest
