"""SILK v3 (Skype's SDK, draft-vos-silk) through the PyPI package silk-python."""

import importlib.metadata
import io

import numpy as np
import numpy.typing as npt

from ecc.audio import SAMPLE_RATE, to_int16
from ecc.codecs.base import Codec, from_int16, pad_to_frames, split_packets
from ecc.errors import CodecUnavailable

FRAME = 320
HEADER = b"#!SILK_V3"
DELAY = 90


class Silk(Codec):
    """SILK at a target of `bitrate` bit/s: packets of 20 ms, complexity 2 (its highest).

    The encoder chooses the bandwidth, up to that of the signal.
    The stream is that of SILK's storage format without its header: each packet behind its length
    (16 bit, little-endian), which does not count.
    """

    def __init__(self, bitrate: int) -> None:
        try:
            import pysilk
        except ImportError as error:
            raise CodecUnavailable(f"{error}; install the PyPI package silk-python") from None
        self.bitrate = bitrate
        self._silk = pysilk
        self.version = f"silk-python {importlib.metadata.version('silk-python')}"

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        pcm = pad_to_frames(to_int16(samples), FRAME, DELAY)
        stream = io.BytesIO()
        self._silk.encode(
            io.BytesIO(pcm.astype("<i2").tobytes()),
            stream,
            SAMPLE_RATE,
            self.bitrate,
            max_internal_sample_rate=SAMPLE_RATE,
            tencent=False,
        )
        return stream.getvalue().removeprefix(HEADER)

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        split_packets(stream)  # a truncated stream is an error
        pcm = io.BytesIO()
        self._silk.decode(io.BytesIO(HEADER + stream), pcm, SAMPLE_RATE)
        return from_int16(np.frombuffer(pcm.getvalue(), dtype="<i2"))

    def bits(self, stream: bytes) -> int:
        return sum(8 * len(packet) for packet in split_packets(stream))
