"""What no narrowband codec can surpass: the signal at 8 kHz, otherwise untouched."""

import numpy as np
import numpy.typing as npt

from ecc.audio import SAMPLE_RATE, resample, to_int16
from ecc.codecs.base import Codec, from_int16

RATE = 8000


class Narrowband(Codec):
    """16 → 8 → 16 kHz by `ecc.audio.resample`, the filter around every narrowband codec here.

    Stored as 16-bit PCM (128 kbit/s), a rate that means nothing: its quality alone does, as the
    ceiling of what is coded at 8 kHz.
    """

    rate = "none"
    version = "1"

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        return to_int16(resample(samples, SAMPLE_RATE, RATE)).astype("<i2").tobytes()

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        return resample(from_int16(np.frombuffer(stream, dtype="<i2")), RATE, SAMPLE_RATE)
