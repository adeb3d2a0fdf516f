"""CRC-32 (ISO-HDLC, as in gzip and PNG), by which the ring, the figures and the index tell what is whole.

Intel's ISA-L computes it four times as fast for a line and twelve times for a block; where it is not built for the machine, zlib gives
the same numbers.
"""

try:
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["HASH_BYTES", "crc32", "hash_of", "hashes_in"]

HASH_BYTES = 3


def hash_of(request_id: bytes) -> int:
    """By what an index knows a request: the low 24 bits of the CRC-32 of its ID as it stands in a line."""
    return crc32(request_id) & 0xFFFFFF


def hashes_in(words: bytes, width: int, at: int = 0) -> bytes:
    """The three bytes at place `at` of each word of `width` bytes, one after the other."""
    found = bytearray(len(words) // width * HASH_BYTES)
    for byte in range(HASH_BYTES):  # columns at a time, which is quicker than word by word
        found[byte::HASH_BYTES] = words[at + byte :: width]
    return bytes(found)
