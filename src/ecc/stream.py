"""The `.ecc` file: a header, then chunks, each with its length and a checksum.

`docs/format.md` describes every field. Varints are LEB128: seven bits a byte, least significant
first, the top bit set on all but the last.
"""

import zlib
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
            raise StreamError("cut short in the header")
        rate, skip = data[2] >> 4, data[2] & 0xF
        if rate >= len(SAMPLE_RATES):
            raise StreamError(f"unknown sample rate (code {rate})")
        samples, at = _read_varint(data, 4 + ID_BYTES, "the header")
        if samples > MAX_SAMPLES:
            raise StreamError(f"impossible length of {samples} samples")
        return cls(data[4 : 4 + ID_BYTES], samples, data[3], skip, SAMPLE_RATES[rate]), at


def covered(header: bytes, number: int) -> bytes:
    """What ties chunk `number` to its place in one stream: its checksum and the check in its
    payload cover these bytes too."""
    return header + number.to_bytes(4, "little")


def pack_chunk(header: bytes, number: int, payload: bytes) -> bytes:
    """Chunk `number`, counted from 0, of a stream: length, checksum, payload."""
    length = _varint(len(payload))
    return length + _checksum(header, number, length, payload) + payload


def unpack_chunks(
    data: bytes, at: int, count: int, damaged: list[str] | None = None
) -> list[bytes | None]:
    """The payload of each of the `count` chunks of the stream `data`, which start at byte `at`.

    Args:
        data: the bytes of an `.ecc` file.
        at: number of bytes of its header.
        count: chunks of a signal of the header's length.
        damaged: if given, what is wrong is appended here in place of an error: a chunk whose
            checksum is wrong is None, and those behind a place where the stream breaks off are
            missing from the list.

    Raises:
        StreamError: unless `damaged` is given: a checksum is wrong, or the stream ends before its
            last chunk does, or goes on behind it.
    """
    header, payloads = data[:at], list[bytes | None]()
    try:
        for number in range(count):
            name = f"chunk {number + 1} of {count}"
            size, start = _read_varint(data, at, name)
            if size > MAX_CHUNK_BYTES:
                raise StreamError(f"impossible length of {size} bytes in {name}")
            end = start + 1 + size
            if end > len(data):
                raise StreamError(f"cut short in {name}")
            payload = data[start + 1 : end]
            whole = data[start : start + 1] == _checksum(header, number, data[at:start], payload)
            if not whole:
                note(StreamError(f"{name} is damaged"), damaged)
            payloads.append(payload if whole else None)
            at = end
        if at != len(data):
            raise StreamError(f"{len(data) - at} bytes too many behind the last chunk")
    except StreamError as error:
        note(error, damaged)
    return payloads


def note(problem: StreamError, damaged: list[str] | None) -> None:
    """Append what is wrong to `damaged`, or raise it where streams must be whole (None)."""
    if damaged is None:
        raise problem
    damaged.append(str(problem))


def _checksum(header: bytes, number: int, length: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(covered(header, number) + length)
    return bytes([zlib.crc32(payload, crc) & 0xFF])


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int, where: str) -> tuple[int, int]:
    """The varint at byte `at`, and the number of the byte behind it."""
    value = 0
    for shift in range(0, 42, 7):  # 2^40 takes six bytes
        if at >= len(data):
            raise StreamError(f"cut short in {where}")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            if byte == 0 and shift:
                break  # one value, one varint
            return value, at
    raise StreamError(f"impossible length in {where}")
