"""CRC-32 (ISO-HDLC, as in gzip and PNG), by which the ring, the figures and the index tell what is whole.

Intel's ISA-L computes it four times as fast for a line and twelve times for a block; where it is not built for the machine, zlib gives
the same numbers.
"""

try:
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]
