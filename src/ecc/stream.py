"""The `.ecc` file: a header, then chunks, each with its length and a checksum.

`docs/format.md` describes every field. Varints are LEB128: seven bits a byte, least significant
first, the top bit set on all but the last.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = 0xECC
VERSION = 1
SAMPLE_RATES = (16000, 8000, 24000, 48000)  # by their code; today's models all work at 16 kHz
ID_BYTES = 3
MAX_SAMPLES = 2**40
MAX_CHUNK_BYTES = 2**24  # far more than the symbols of one chunk can take


class StreamError(ValueError):
    """A stream that cannot be decoded; the message says why in one line."""


@dataclass(frozen=True)
class Header:
    """What the decoder must know before the first chunk."""

    model_id: bytes  # start of the SHA-256 of the model file, weights and tables
    samples: int
    level: int  # quality level, below 256
    skip: int  # entropy-skip threshold, below 16
    sample_rate: int = SAMPLE_RATES[0]

    def pack(self) -> bytes:
        """The bytes of the header."""
        options = SAMPLE_RATES.index(self.sample_rate) << 4 | self.skip
        start = (MAGIC << 4 | VERSION).to_bytes(2, "big")
        return start + bytes([options, self.level]) + self.model_id + _varint(self.samples)

    @classmethod
    def unpack(cls, data: bytes) -> tuple["Header", int]:
        """The header at the start of `data` and the number of its bytes.

        Raises:
            StreamError: not an `.ecc` stream, another version, cut short, or impossible values.
        """
        start = int.from_bytes(data[:2], "big")
        if len(data) < 2 or start >> 4 != MAGIC:
            raise StreamError("not an .ecc stream")
        if start & 0xF != VERSION:
            raise StreamError(f"format version {start & 0xF}; this decoder reads {VERSION}")
        if len(data) < 4 + ID_BYTES:
            raise StreamError("cut short in its header")
        rate, skip = data[2] >> 4, data[2] & 0xF
        if rate >= len(SAMPLE_RATES):
            raise StreamError(f"unknown sample rate (code {rate})")
        samples, at = _read_varint(data, 4 + ID_BYTES)
        if samples > MAX_SAMPLES:
            raise StreamError(f"impossible length of {samples} samples")
        return cls(data[4 : 4 + ID_BYTES], samples, data[3], skip, SAMPLE_RATES[rate]), at


def pack_chunk(header: bytes, number: int, payload: bytes) -> bytes:
    """Chunk `number` of a stream: length, checksum, payload."""
    length = _varint(len(payload))
    return length + _checksum(header, number, length, payload) + payload


def unpack_chunks(data: bytes, at: int, count: int) -> Iterator[bytes | None]:
    """The payload of each of `count` chunks of the stream `data`, which start at byte `at`.

    A chunk with a wrong checksum is None: it, or its length, is damaged.

    Raises:
        StreamError: the stream ends before its last chunk does, or goes on behind it.
    """
    header = data[:at]
    for number in range(count):
        size, start = _read_varint(data, at)
        if size > MAX_CHUNK_BYTES:
            raise StreamError(f"impossible length of {size} bytes in chunk {number + 1}")
        at = start + 1 + size
        if at > len(data):
            raise StreamError(f"cut short in chunk {number + 1} of {count}")
        payload = data[start + 1 : at]
        # The length as it was written: any other varint of the same value is damage.
        whole = data[start : start + 1] == _checksum(header, number, _varint(size), payload)
        yield payload if whole else None
    if at != len(data):
        raise StreamError(f"{len(data) - at} bytes too many behind the last chunk")


def _checksum(header: bytes, number: int, length: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(header + number.to_bytes(4, "little") + length)
    return bytes([zlib.crc32(payload, crc) & 0xFF])


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(data):
            raise StreamError("cut short")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise StreamError("impossible length")
