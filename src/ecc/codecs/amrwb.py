"""AMR-WB (3GPP TS 26.190, ITU-T G.722.2) through libvo-amrwbenc and libopencore-amrwb."""

import ctypes
import ctypes.util

import numpy as np
import numpy.typing as npt

from ecc.audio import to_int16
from ecc.codecs.base import Codec, debian_version, from_int16, load_library, pad_to_frames

FRAME = 320
# 5 ms of look-ahead and 0.94 ms of the 12.8 kHz resampling filters.
DELAY = 95
MODE_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477)
"""Speech bits of a 20 ms frame in modes 0 (6.60 kbit/s) to 8 (23.85 kbit/s), TS 26.201."""


class AmrWb(Codec):
    """AMR-WB in one mode (0 … 8), without discontinuous transmission.

    The stream holds the frames of the storage format (RFC 4867, section 5.3: a header byte,
    the speech bits, padding to a byte); only the nominal speech bits count.
    """

    def __init__(self, mode: int) -> None:
        if mode not in range(len(MODE_BITS)):
            raise ValueError(f"AMR-WB has modes 0 to 8, not {mode}")
        self.mode = mode
        self._frame_bytes = 1 + -(-MODE_BITS[mode] // 8)
        install = "libvo-amrwbenc and libopencore-amrwb (Debian libvo-amrwbenc0 libopencore-amrwb0)"
        self._encoder = load_library(
            [ctypes.util.find_library("vo-amrwbenc"), "libvo-amrwbenc.so.0"], install
        )
        self._decoder = load_library(
            [ctypes.util.find_library("opencore-amrwb"), "libopencore-amrwb.so.0"], install
        )
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        self._encoder.E_IF_init.restype = pointer
        self._encoder.E_IF_encode.argtypes = [pointer, integer, pointer, pointer, integer]
        self._encoder.E_IF_exit.argtypes = [pointer]
        self._decoder.D_IF_init.restype = pointer
        self._decoder.D_IF_decode.argtypes = [pointer, ctypes.c_char_p, pointer, integer]
        self._decoder.D_IF_exit.argtypes = [pointer]
        self.version = (
            f"vo-amrwbenc {debian_version('libvo-amrwbenc0')}, "
            f"opencore-amrwb {debian_version('libopencore-amrwb0')}"
        )

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        state = self._encoder.E_IF_init()
        buffer = ctypes.create_string_buffer(64)
        frames = []
        try:
            for frame in pad_to_frames(to_int16(samples), FRAME, DELAY):
                frame = np.ascontiguousarray(frame)
                size = self._encoder.E_IF_encode(state, self.mode, frame.ctypes.data, buffer, 0)
                if size != self._frame_bytes:
                    raise RuntimeError(f"libvo-amrwbenc: frame of {size} bytes")
                frames.append(buffer.raw[:size])
        finally:
            self._encoder.E_IF_exit(state)
        return b"".join(frames)

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        samples = np.empty((self._frames(stream), FRAME), dtype=np.int16)
        state = self._decoder.D_IF_init()
        try:
            for index, frame in enumerate(samples):
                coded = stream[index * self._frame_bytes : (index + 1) * self._frame_bytes]
                self._decoder.D_IF_decode(state, coded, frame.ctypes.data, 0)
        finally:
            self._decoder.D_IF_exit(state)
        return from_int16(samples.reshape(-1))

    def bits(self, stream: bytes) -> int:
        return self._frames(stream) * MODE_BITS[self.mode]

    def _frames(self, stream: bytes) -> int:
        frames, rest = divmod(len(stream), self._frame_bytes)
        if rest:
            raise ValueError("truncated stream: it ends inside a frame")
        return frames
