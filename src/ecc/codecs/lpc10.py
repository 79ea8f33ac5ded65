"""LPC-10 (FS-1015), 2.4 kbit/s, through SoX, at 8 kHz."""

import numpy as np
import numpy.typing as npt

from ecc.audio import SAMPLE_RATE, resample, to_int16
from ecc.codecs.base import Codec, debian_version, find_program, from_int16, pad_to_frames, pipe

RATE = 8000
FRAME = 180
FRAME_BITS = 54
FRAME_BYTES = 7
# Measured: the decoded signal lags by 131 ms, of which the first five frames are silent.
DELAY = 1050
SILENT_FRAMES = 5
RAW = ["-t", "raw", "-r", str(RATE), "-c", "1", "-b", "16", "-e", "signed-integer", "-L", "-"]


class Lpc10(Codec):
    """LPC-10: 54 bits every 22.5 ms, which SoX stores in 7 bytes.

    Narrowband: the signal is resampled to 8 kHz and back with `ecc.audio.resample`. Frames of
    zeros flush the delay. The first five decoded frames, in which SoX has nothing to play yet,
    are dropped; what remains of the delay (19 ms) is within what the study looks for.
    """

    def __init__(self) -> None:
        self._sox = find_program("sox", "SoX (Debian sox)")
        self.version = f"sox {debian_version('sox')}"

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        narrow = to_int16(resample(samples, SAMPLE_RATE, RATE))
        frames = pad_to_frames(narrow, FRAME, DELAY)
        return pipe([self._sox, "-D", *RAW, "-t", "lpc10", "-"], frames.astype("<i2").tobytes())

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        self.bits(stream)  # a truncated stream is an error
        pcm = np.frombuffer(pipe([self._sox, "-D", "-t", "lpc10", "-", *RAW], stream), dtype="<i2")
        return resample(from_int16(pcm[SILENT_FRAMES * FRAME :]), RATE, SAMPLE_RATE)

    def bits(self, stream: bytes) -> int:
        frames, rest = divmod(len(stream), FRAME_BYTES)
        if rest:
            raise ValueError("truncated stream: it ends inside a frame")
        return frames * FRAME_BITS
