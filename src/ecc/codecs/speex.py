"""Speex (speex.org) through its programs speexenc and speexdec."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecc.audio import SAMPLE_RATE, resample, to_int16
from ecc.codecs.base import Codec, debian_version, find_program, from_int16, pipe

NARROWBAND_RATE = 8000
HEADER_PACKETS = 2


class Speex(Codec):
    """Speex at constant rate, `quality` 0 to 10, complexity 10.

    Wideband (quality 0 is 4 kbit/s), or narrowband (2.15 kbit/s): resampled to 8 kHz and back
    with `ecc.audio.resample`.

    The stream is the Ogg file of speexenc; the bits that count are those of its packets
    behind the two header packets. Two fields of the Ogg pages are rewritten. speexenc draws the
    serial number from the clock: it becomes 0, so that the same speech gives the same bytes.
    From the time stamps speexdec trims the codec's delay (wideband: 222 samples), but at the
    wrong end when all packets fit into one page (about 5 s): they become those of untrimmed
    frames, so that the delay is the same for every utterance.
    """

    def __init__(self, quality: int, narrowband: bool = False) -> None:
        if quality not in range(11):
            raise ValueError(f"Speex has qualities 0 to 10, not {quality}")
        self.quality = quality
        self._rate = NARROWBAND_RATE if narrowband else SAMPLE_RATE
        self._mode = "--narrowband" if narrowband else "--wideband"
        self._frame = self._rate // 50
        install = "Speex (Debian speex)"
        self._encoder = find_program("speexenc", install)
        self._decoder = find_program("speexdec", install)
        self.version = debian_version("speex")

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        command = [self._encoder, self._mode, "--rate", str(self._rate), "--le"]
        command += ["--quality", str(self.quality), "--comp", "10", "-", "-"]
        # speexenc looks for a WAV header first and refuses a shorter input than that.
        pcm = to_int16(resample(samples, SAMPLE_RATE, self._rate))
        padded = np.pad(pcm, (0, max(0, self._frame - len(pcm))))
        return _canonical(pipe(command, padded.astype("<i2").tobytes()), self._frame)

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        self.bits(stream)  # speexdec does not complain about a truncated file
        pcm = np.frombuffer(pipe([self._decoder, "-", "-"], stream), dtype="<i2")
        return resample(from_int16(pcm), self._rate)

    def bits(self, stream: bytes) -> int:
        return 8 * sum(_packet_sizes(stream)[HEADER_PACKETS:])


class _Page(NamedTuple):
    start: int
    lacing: bytes
    """Segment sizes; a packet ends at a segment of less than 255 bytes (RFC 3533, section 6)."""
    end: int


def _pages(stream: bytes) -> Iterator[_Page]:
    at = 0
    while at < len(stream):
        if stream[at : at + 4] != b"OggS" or len(stream) < at + 27:
            raise ValueError("not an Ogg stream, or a damaged one")
        count = stream[at + 26]
        lacing = stream[at + 27 : at + 27 + count]
        end = at + 27 + count + sum(lacing)
        if end > len(stream) or len(lacing) < count:
            raise ValueError("truncated stream: it ends inside an Ogg page")
        yield _Page(at, lacing, end)
        at = end


def _packet_sizes(stream: bytes) -> list[int]:
    sizes, size = [], 0
    for page in _pages(stream):
        for segment in page.lacing:
            size += segment
            if segment < 255:
                sizes.append(size)
                size = 0
    return sizes


def _canonical(stream: bytes, frame: int) -> bytes:
    pages, packets = [], -HEADER_PACKETS
    for page in _pages(stream):
        packets += sum(segment < 255 for segment in page.lacing)
        content = bytearray(stream[page.start : page.end])
        content[6:14] = struct.pack("<q", max(0, packets) * frame)  # end time of the page
        content[14:18] = bytes(4)  # serial number
        content[22:26] = bytes(4)
        content[22:26] = struct.pack("<I", _checksum(content))
        pages.append(bytes(content))
    return b"".join(pages)


def _checksum_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_CHECKSUM_TABLE = _checksum_table()


def _checksum(page: bytes | bytearray) -> int:
    # RFC 3533: CRC-32 with polynomial 0x04c11db7, neither reflected nor inverted (unlike zlib's).
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _CHECKSUM_TABLE[(value >> 24) ^ byte]
    return value
