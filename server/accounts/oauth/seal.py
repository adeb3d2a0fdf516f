"""A provider's code, sealed: whoever has the database has it closed, and whoever has the token that opens it has not the database.

Format: JSON Web Encryption, compact, `dir` with `A256GCM` (RFC 7516, RFC 7518), under a key that is derived and kept nowhere.
"""

_ALGORITHMS = ["dir", "A256GCM"]


def sealed(text: str, key: bytes) -> str:
    """`text`, to be opened with the same `key` of 32 bytes."""
    from joserfc import jwe
    from joserfc.jwk import OctKey

    header = {"alg": "dir", "enc": "A256GCM"}
    return jwe.encrypt_compact(header, text.encode(), OctKey.import_key(key), algorithms=_ALGORITHMS)


def opened(closed: str, key: bytes) -> str | None:
    """What was sealed; None when it was sealed with another key, or changed."""
    from joserfc import jwe
    from joserfc.errors import JoseError
    from joserfc.jwk import OctKey

    try:
        text = jwe.decrypt_compact(closed, OctKey.import_key(key), algorithms=_ALGORITHMS).plaintext
    except (JoseError, ValueError):
        return None
    return None if text is None else text.decode()
