"""Codec2 (David Rowe, rowetel.com/codec2) through its programs c2enc and c2dec, at 8 kHz."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecc.audio import SAMPLE_RATE, resample, to_int16
from ecc.codecs.base import Codec, debian_version, find_program, from_int16, pad_to_frames, pipe

RATE = 8000


class Mode(NamedTuple):
    """A frame of one mode: samples at 8 kHz, and the bits that it needs on a channel."""

    samples: int
    bits: int


MODES = {
    "450": Mode(320, 18),
    "700C": Mode(320, 28),
    "1200": Mode(320, 48),
    "1300": Mode(320, 52),
    "1600": Mode(320, 64),
    "2400": Mode(160, 48),
    "3200": Mode(160, 64),
}


class Codec2(Codec):
    """Codec2 in one mode, named by its bit/s.

    Narrowband: the signal is resampled to 8 kHz and back with `ecc.audio.resample`. One frame
    of zeros flushes the codec's delay (17 to 28 ms). c2enc pads frames to whole bytes; only
    the nominal bits of each frame count.
    """

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"Codec2 has modes {', '.join(MODES)}, not {mode!r}")
        self.mode = mode
        self._frame = MODES[mode]
        self._frame_bytes = -(-self._frame.bits // 8)
        install = "Codec2 (Debian codec2)"
        self._encoder = find_program("c2enc", install)
        self._decoder = find_program("c2dec", install)
        self.version = debian_version("codec2")

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        narrow = to_int16(resample(samples, SAMPLE_RATE, RATE))
        frames = pad_to_frames(narrow, self._frame.samples, self._frame.samples)
        stream = pipe([self._encoder, self.mode, "-", "-"], frames.astype("<i2").tobytes())
        if len(stream) != len(frames) * self._frame_bytes:
            raise RuntimeError(f"c2enc: {len(stream)} bytes for {len(frames)} frames")
        return stream

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        self.bits(stream)  # a truncated stream is an error
        narrow = np.frombuffer(pipe([self._decoder, self.mode, "-", "-"], stream), dtype="<i2")
        return resample(from_int16(narrow), RATE, SAMPLE_RATE)

    def bits(self, stream: bytes) -> int:
        frames, rest = divmod(len(stream), self._frame_bytes)
        if rest:
            raise ValueError("truncated stream: it ends inside a frame")
        return frames * self._frame.bits
