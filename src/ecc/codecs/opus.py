"""Opus (RFC 6716) through libopus: VBR, complexity 10, speech."""

import ctypes
import ctypes.util
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecc.codecs.base import Codec, join_packets, load_library, pad_to_frames, split_packets
from ecc.errors import CodecUnavailable

RATE = 16000
FRAMES_MS = (20, 40, 60)
MAX_PACKET = 1275

# Names and numbers of opus_defines.h.
APPLICATION_VOIP = 2048
SET_BITRATE = 4002
SET_VBR = 4006
SET_BANDWIDTH = 4008
BANDWIDTH_WIDEBAND = 1103
SET_COMPLEXITY = 4010
SET_SIGNAL = 4024
SIGNAL_VOICE = 3001
GET_LOOKAHEAD = 4027


class Opus(Codec):
    """Opus at a target of `bitrate` bit/s in packets of `frame_ms` milliseconds.

    The encoder chooses the bandwidth (`auto`) unless `wideband` forces 8 kHz of audio, which it
    would leave for less below about 9 kbit/s. The bits of a packet include its TOC byte, which
    is part of the Opus payload. The libopus inside the PyPI package `av` is preferred to the
    system's, so that one environment gives one version.
    """

    def __init__(self, bitrate: int, frame_ms: int = 20, wideband: bool = False) -> None:
        if frame_ms not in FRAMES_MS:
            raise ValueError(f"Opus has frames of {FRAMES_MS} ms here, not {frame_ms}")
        self.bitrate = bitrate
        self.wideband = wideband
        self.frame = RATE * frame_ms // 1000  # samples of a packet
        self._library = _load()
        self.version = self._library.opus_get_version_string().decode()

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        opus = self._library
        error = ctypes.c_int()
        encoder = opus.opus_encoder_create(RATE, 1, APPLICATION_VOIP, ctypes.byref(error))
        _check(opus, error.value)
        try:
            settings = [
                (SET_BITRATE, self.bitrate),
                (SET_VBR, 1),
                (SET_COMPLEXITY, 10),
                (SET_SIGNAL, SIGNAL_VOICE),
            ]
            if self.wideband:
                settings.append((SET_BANDWIDTH, BANDWIDTH_WIDEBAND))
            for request, value in settings:
                _check(opus, opus.opus_encoder_ctl(encoder, request, ctypes.c_int(value)))
            lookahead = ctypes.c_int()
            _check(opus, opus.opus_encoder_ctl(encoder, GET_LOOKAHEAD, ctypes.byref(lookahead)))
            buffer = ctypes.create_string_buffer(MAX_PACKET)
            packets = []
            for frame in pad_to_frames(samples, self.frame, lookahead.value):
                frame = np.ascontiguousarray(frame, dtype=np.float32)
                size = opus.opus_encode_float(
                    encoder, frame.ctypes.data, self.frame, buffer, MAX_PACKET
                )
                _check(opus, size)
                packets.append(buffer.raw[:size])
            return join_packets(packets)
        finally:
            opus.opus_encoder_destroy(encoder)

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        opus = self._library
        error = ctypes.c_int()
        decoder = opus.opus_decoder_create(RATE, 1, ctypes.byref(error))
        _check(opus, error.value)
        try:
            packets = split_packets(stream)
            samples = np.empty((len(packets), self.frame), dtype=np.float32)
            for packet, frame in zip(packets, samples, strict=True):
                size = opus.opus_decode_float(
                    decoder, packet, len(packet), frame.ctypes.data, self.frame, 0
                )
                _check(opus, size)
                if size != self.frame:
                    raise RuntimeError(f"libopus decoded {size} samples in place of {self.frame}")
            return samples.reshape(-1)
        finally:
            opus.opus_decoder_destroy(decoder)

    def bits(self, stream: bytes) -> int:
        return sum(8 * len(packet) for packet in split_packets(stream))


def _load() -> ctypes.CDLL:
    spec = importlib.util.find_spec("av")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    bundled = [
        str(path)
        for folder in folders
        for place in (folder.parent / "av.libs", folder / ".dylibs")
        for path in sorted(place.glob("libopus[-.]*"))
    ]
    opus = load_library(
        [*bundled, ctypes.util.find_library("opus"), "libopus.so.0"],
        "the PyPI package av, or libopus (Debian libopus0)",
    )
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    opus.opus_get_version_string.restype = ctypes.c_char_p
    opus.opus_strerror.restype = ctypes.c_char_p
    opus.opus_encoder_create.restype = pointer
    opus.opus_encoder_create.argtypes = [integer, integer, integer, pointer]
    # Variadic: only the fixed arguments are declared.
    opus.opus_encoder_ctl.argtypes = [pointer, integer]
    opus.opus_encode_float.argtypes = [pointer, pointer, integer, pointer, ctypes.c_int32]
    opus.opus_encoder_destroy.argtypes = [pointer]
    opus.opus_decoder_create.restype = pointer
    opus.opus_decoder_create.argtypes = [integer, integer, pointer]
    opus.opus_decode_float.argtypes = [
        pointer,
        ctypes.c_char_p,
        ctypes.c_int32,
        pointer,
        integer,
        integer,
    ]
    opus.opus_decoder_destroy.argtypes = [pointer]
    if b"libopus" not in opus.opus_get_version_string():
        raise CodecUnavailable("the libopus found is not libopus; install the PyPI package av")
    return opus


def _check(opus: ctypes.CDLL, code: int) -> None:
    if code < 0:
        raise RuntimeError(f"libopus: {opus.opus_strerror(code).decode()}")
