"""G.729 Annex A (ITU-T), 8 kbit/s, through libbcg729, at 8 kHz."""

import ctypes
import ctypes.util

import numpy as np
import numpy.typing as npt

from ecc.audio import SAMPLE_RATE, resample, to_int16
from ecc.codecs.base import Codec, debian_version, from_int16, load_library, pad_to_frames

RATE = 8000
FRAME = 80
FRAME_BYTES = 10
LOOK_AHEAD = 40


class G729A(Codec):
    """G.729A without discontinuous transmission: 80 bits every 10 ms, all of them payload.

    Narrowband: the signal is resampled to 8 kHz and back with `ecc.audio.resample`.
    """

    def __init__(self) -> None:
        self._library = load_library(
            [ctypes.util.find_library("bcg729"), "libbcg729.so.0"],
            "libbcg729 (Debian libbcg729-0)",
        )
        pointer, byte = ctypes.c_void_p, ctypes.c_uint8
        self._library.initBcg729EncoderChannel.restype = pointer
        self._library.initBcg729EncoderChannel.argtypes = [byte]
        self._library.bcg729Encoder.argtypes = [pointer, pointer, pointer, pointer]
        self._library.closeBcg729EncoderChannel.argtypes = [pointer]
        self._library.initBcg729DecoderChannel.restype = pointer
        self._library.bcg729Decoder.argtypes = [
            pointer,
            ctypes.c_char_p,
            *[byte] * 4,
            pointer,
        ]
        self._library.closeBcg729DecoderChannel.argtypes = [pointer]
        self.version = f"bcg729 {debian_version('libbcg729-0')}"

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        narrow = to_int16(resample(samples, SAMPLE_RATE, RATE))
        frames = np.ascontiguousarray(pad_to_frames(narrow, FRAME, LOOK_AHEAD))
        stream = np.empty((len(frames), FRAME_BYTES), dtype=np.uint8)
        size = ctypes.c_uint8()
        channel = self._library.initBcg729EncoderChannel(0)  # 0: no voice activity detection
        try:
            for frame, coded in zip(frames, stream, strict=True):
                self._library.bcg729Encoder(
                    channel, frame.ctypes.data, coded.ctypes.data, ctypes.byref(size)
                )
                if size.value != FRAME_BYTES:
                    raise RuntimeError(f"libbcg729: frame of {size.value} bytes")
        finally:
            self._library.closeBcg729EncoderChannel(channel)
        return stream.tobytes()

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        count, rest = divmod(len(stream), FRAME_BYTES)
        if rest:
            raise ValueError("truncated stream: it ends inside a frame")
        samples = np.empty((count, FRAME), dtype=np.int16)
        channel = self._library.initBcg729DecoderChannel()
        try:
            for index, frame in enumerate(samples):
                coded = stream[index * FRAME_BYTES : (index + 1) * FRAME_BYTES]
                self._library.bcg729Decoder(channel, coded, FRAME_BYTES, 0, 0, 0, frame.ctypes.data)
        finally:
            self._library.closeBcg729DecoderChannel(channel)
        return resample(from_int16(samples.reshape(-1)), RATE, SAMPLE_RATE)
