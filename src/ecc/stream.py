"""The `.ecc` file: a header and chunks, each with its length and a checksum.

    header   "ECC", version (1 byte), model id (4 bytes: start of the SHA-256 of the model file),
             samples (varint), skip threshold (1 byte)
    chunk    bytes of payload (varint), CRC-16 (2 bytes) of header and payload, payload (rANS)

Varints are LEB128: seven bits a byte, least significant first, the top bit set on all but the last.
"""

import binascii
from dataclasses import dataclass

MAGIC = b"ECC"
VERSION = 1
MAX_SAMPLES = 2**40


class StreamError(ValueError):
    """A stream that cannot be decoded; the message says why in one line."""


@dataclass(frozen=True)
class Stream:
    """The content of an `.ecc` file."""

    model_id: bytes  # 4 bytes
    samples: int
    skip: int
    chunks: list[bytes]

    def pack(self) -> bytes:
        """The bytes of the file."""
        header = MAGIC + bytes([VERSION]) + self.model_id + _varint(self.samples)
        header += bytes([self.skip])
        parts = [header]
        for chunk in self.chunks:
            crc = binascii.crc_hqx(chunk, binascii.crc_hqx(header, 0))
            parts += [_varint(len(chunk)), crc.to_bytes(2, "little"), chunk]
        return b"".join(parts)

    @classmethod
    def unpack(cls, data: bytes) -> "Stream":
        """Parse the bytes of a file.

        Raises:
            StreamError: not an `.ecc` file, another version, truncated, damaged, or longer
                than it says.
        """
        if data[:3] != MAGIC:
            raise StreamError("not an .ecc stream")
        if len(data) < 4 or data[3] != VERSION:
            raise StreamError(f"version {data[3:4].hex() or '?'}; this decoder reads {VERSION}")
        model_id, at = data[4:8], 8
        samples, at = _read_varint(data, at)
        if samples > MAX_SAMPLES:
            raise StreamError(f"claims {samples} samples")
        if at >= len(data):
            raise StreamError("truncated header")
        skip, at = data[at], at + 1
        header_crc = binascii.crc_hqx(data[:at], 0)
        chunks: list[bytes] = []
        while at < len(data):
            size, at = _read_varint(data, at)
            chunk = data[at + 2 : at + 2 + size]
            if len(chunk) < size:
                raise StreamError(f"truncated in chunk {len(chunks)}")
            if binascii.crc_hqx(chunk, header_crc) != int.from_bytes(data[at : at + 2], "little"):
                raise StreamError(f"chunk {len(chunks)} is damaged")
            chunks.append(chunk)
            at += 2 + size
        return cls(model_id, samples, skip, chunks)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        if at >= len(data) or shift > 63:
            raise StreamError("truncated or oversized length")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
