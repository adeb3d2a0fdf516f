"""A mail address in one form, so that one mailbox is one account however its owner types it.

Only the syntax is judged; whether the mailbox exists, the letter itself will tell. What is kept is also what is written to: a link can
reach nobody but the mailbox that the account is known by, so no pair of addresses that look alike opens another's account.

- Lower case, all of it. RFC 5321 (section 2.4) leaves the case of the part before the @ to whoever receives; no mail provider of any size
  tells `Ada@` from `ada@`, and people type both. Not case-folded: that would make `strasse` of `straße`, which is another mailbox.
- The domain as DNS knows it: `bücher.example` becomes `xn--bcher-kva.example`, which every mail server takes.
- The part before the @ composed (Unicode NFC). Dots and what stands behind a `+` stay: only some providers ignore them.
- No quoted parts (`"a b"@…`), no bare IP addresses, no display names, none of the domains that cannot receive mail, such as `localhost`.
"""

from server.errors import InvalidEmail

LONGEST = 320
"""Characters; no address is longer (RFC 3696, erratum 1690, says 254), and nothing longer is looked at."""


def normalized(text: str) -> str:
    """The address that `text` means. Raises ``InvalidEmail``, whose message says what is wrong with it."""
    from email_validator import EmailNotValidError, validate_email

    if len(text) > LONGEST:
        raise InvalidEmail("The email address is too long.")
    try:
        address = validate_email(text.strip(" ").lower(), check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise InvalidEmail(str(error)) from None
    return f"{address.local_part}@{address.ascii_domain}"
