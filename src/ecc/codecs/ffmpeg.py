"""Codecs that FFmpeg holds, through PyAV: AMR-NB (3GPP TS 26.090) and G.723.1 (ITU-T), at 8 kHz."""

from typing import Literal, cast

import av
import numpy as np
import numpy.typing as npt

from ecc.audio import SAMPLE_RATE, resample, to_int16
from ecc.codecs.base import Codec, from_int16, pad_to_frames
from ecc.errors import CodecUnavailable

RATE = 8000
AMR_NB_BITS = (95, 103, 118, 134, 148, 159, 204, 244)
"""Speech bits of a 20 ms frame in modes 0 (4.75 kbit/s) to 7 (12.2 kbit/s), TS 26.101."""


class FFmpegCodec(Codec):
    """A speech coder of FFmpeg with one frame of `frame` samples at 8 kHz in each packet.

    Narrowband: the signal is resampled to 8 kHz and back with `ecc.audio.resample`. The stream
    is the packets one after the other, all of `packet_bytes`; `frame_bits` of each count. Zeros
    flush `delay` samples, beside what FFmpeg flushes by itself.
    """

    def __init__(
        self, name: str, bit_rate: int, frame: int, delay: int, packet_bytes: int, frame_bits: int
    ) -> None:
        self._name, self._bit_rate = name, bit_rate
        self._frame, self._delay = frame, delay
        self._packet_bytes, self._frame_bits = packet_bytes, frame_bits
        self._context("w")
        self._context("r")
        self.version = f"{name} of PyAV {av.__version__}"

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        narrow = to_int16(resample(samples, SAMPLE_RATE, RATE))
        context = self._context("w")
        packets = []
        for index, pcm in enumerate(pad_to_frames(narrow, self._frame, self._delay)):
            frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, index * self._frame
            packets += context.encode(frame)
        packets += context.encode(None)
        stream = b"".join(bytes(packet) for packet in packets)
        if len(stream) != len(packets) * self._packet_bytes:
            raise RuntimeError(f"{self._name}: {len(stream)} bytes in {len(packets)} packets")
        return stream

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        context = self._context("r")
        frames: list[av.AudioFrame] = []
        for index in range(self._frames(stream)):
            packet = stream[index * self._packet_bytes : (index + 1) * self._packet_bytes]
            frames += context.decode(av.Packet(packet))
        frames += context.decode(None)
        if len(frames) != self._frames(stream):
            raise RuntimeError(f"{self._name}: {len(frames)} of {self._frames(stream)} frames")
        decoded = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
        narrow = from_int16(decoded) if decoded.dtype == np.int16 else decoded
        return resample(narrow, RATE, SAMPLE_RATE)

    def bits(self, stream: bytes) -> int:
        return self._frames(stream) * self._frame_bits

    def _frames(self, stream: bytes) -> int:
        frames, rest = divmod(len(stream), self._packet_bytes)
        if rest:
            raise ValueError("truncated stream: it ends inside a frame")
        return frames

    def _context(self, mode: Literal["r", "w"]) -> av.AudioCodecContext:
        try:
            codec = av.Codec(self._name, mode)
        except av.codec.codec.UnknownCodecError:
            raise CodecUnavailable(
                f"PyAV was built without {self._name}; install the wheel of the PyPI package av"
            ) from None
        context = cast(av.AudioCodecContext, av.CodecContext.create(codec))
        context.sample_rate, context.layout = RATE, "mono"
        if mode == "w":
            context.format, context.bit_rate = "s16", self._bit_rate
        return context


class AmrNb(FFmpegCodec):
    """AMR-NB in one mode (0 … 7), without discontinuous transmission, by libopencore-amrnb.

    A packet is a frame of the storage format (RFC 4867, section 5.3: a header byte, the speech
    bits, padding to a byte).
    """

    def __init__(self, mode: int) -> None:
        if mode not in range(len(AMR_NB_BITS)):
            raise ValueError(f"AMR-NB has modes 0 to 7, not {mode}")
        bits = AMR_NB_BITS[mode]
        # No delay: at the end FFmpeg adds a frame, which flushes the look-ahead of 5 ms.
        super().__init__("libopencore_amrnb", 50 * bits, 160, 0, 1 + -(-bits // 8), bits)


class G7231(FFmpegCodec):
    """G.723.1 at 6.3 kbit/s, the one rate that FFmpeg encodes: 189 bits in 24 bytes every 30 ms."""

    def __init__(self) -> None:
        super().__init__("g723_1", 6300, 240, 60, 24, 189)
