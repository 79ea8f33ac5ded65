"""LC3 (Bluetooth Low Complexity Communication Codec) through liblc3, at 16 kHz."""

import ctypes
import ctypes.util

import numpy as np
import numpy.typing as npt

from ecc.codecs.base import Codec, debian_version, load_library, pad_to_frames
from ecc.errors import CodecUnavailable

RATE = 16000
FRAME_US = 10000
FRAME = 160
MIN_BITRATE = 16000
MAX_BITRATE = 320000

PCM_FLOAT = 3  # LC3_PCM_FORMAT_FLOAT of lc3.h


class Lc3(Codec):
    """LC3 at a constant `bitrate` (bit/s, from 16000 on) in frames of 10 ms."""

    def __init__(self, bitrate: int) -> None:
        if not MIN_BITRATE <= bitrate <= MAX_BITRATE or bitrate % 800:
            raise ValueError(
                f"LC3 takes {MIN_BITRATE} to {MAX_BITRATE} bit/s in steps of 800, not {bitrate}"
            )
        self.bitrate = bitrate
        self._frame_bytes = bitrate // 800
        library = load_library(
            [ctypes.util.find_library("lc3"), "liblc3.so.1", "liblc3.so.0"],
            "liblc3 (Debian liblc3-tools)",
        )
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        for side in ("encoder", "decoder"):
            setup = getattr(library, f"lc3_setup_{side}")
            setup.restype, setup.argtypes = pointer, [integer, integer, integer, pointer]
            size = getattr(library, f"lc3_{side}_size")
            size.restype, size.argtypes = ctypes.c_uint, [integer, integer]
        library.lc3_encode.argtypes = [pointer, integer, pointer, integer, integer, pointer]
        library.lc3_decode.argtypes = [
            pointer,
            ctypes.c_char_p,
            integer,
            integer,
            pointer,
            integer,
        ]
        self._library = library
        self._delay = library.lc3_delay_samples(FRAME_US, RATE)
        if library.lc3_frame_samples(FRAME_US, RATE) != FRAME:
            raise CodecUnavailable("the liblc3 found is not liblc3; install Debian liblc3-tools")
        self.version = f"liblc3 {debian_version('liblc3-tools')}"

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        memory = self._memory("encoder")
        encoder = self._library.lc3_setup_encoder(FRAME_US, RATE, 0, memory)
        frames = pad_to_frames(samples, FRAME, self._delay)
        frames = np.ascontiguousarray(frames, dtype=np.float32)
        stream = np.empty((len(frames), self._frame_bytes), dtype=np.uint8)
        for frame, coded in zip(frames, stream, strict=True):
            status = self._library.lc3_encode(
                encoder, PCM_FLOAT, frame.ctypes.data, 1, self._frame_bytes, coded.ctypes.data
            )
            if status != 0:
                raise RuntimeError(f"liblc3: encoding failed ({status})")
        return stream.tobytes()

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        count, rest = divmod(len(stream), self._frame_bytes)
        if rest:
            raise ValueError("truncated stream: it ends inside a frame")
        memory = self._memory("decoder")
        decoder = self._library.lc3_setup_decoder(FRAME_US, RATE, 0, memory)
        samples = np.empty((count, FRAME), dtype=np.float32)
        for index, frame in enumerate(samples):
            coded = stream[index * self._frame_bytes : (index + 1) * self._frame_bytes]
            # 1 would be a damaged frame, concealed.
            status = self._library.lc3_decode(
                decoder, coded, self._frame_bytes, PCM_FLOAT, frame.ctypes.data, 1
            )
            if status != 0:
                raise RuntimeError(f"liblc3: decoding failed ({status})")
        return samples.reshape(-1)

    def _memory(self, side: str) -> ctypes.Array[ctypes.c_void_p]:
        size = getattr(self._library, f"lc3_{side}_size")(FRAME_US, RATE)
        # An array of pointers, since the memory must be aligned to one.
        return (ctypes.c_void_p * -(-size // ctypes.sizeof(ctypes.c_void_p)))()
