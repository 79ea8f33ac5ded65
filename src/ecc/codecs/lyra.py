"""Lyra V2 (github.com/google/lyra), a neural codec, through the TFLite models of its authors."""

import importlib.metadata

import numpy as np
import numpy.typing as npt

from ecc.codecs.base import Codec, pad_to_frames
from ecc.lyra.models import COMMIT, FRAME, MAX_STAGES, STAGE_BITS, LyraModels


class Lyra(Codec):
    """Lyra V2 with `stages` of its quantizer: 16, 30, 46 are its 3.2, 6.0 and 9.2 kbit/s.

    Any other even number of stages works as well, since they refine each other, but is none of
    Lyra's own rates. A frame is 4 bits for each stage, the first stage in the high bits of the
    first byte; all of them are payload. `weights` is the folder that `ecc.data.lyra.fetch_weights`
    filled.
    """

    def __init__(self, stages: int, weights: str) -> None:
        if stages not in range(2, MAX_STAGES + 1, 2):
            raise ValueError(f"Lyra has 2 to {MAX_STAGES} stages, an even number, not {stages}")
        self.stages = stages
        self.models = LyraModels(weights)
        litert = importlib.metadata.version("ai-edge-litert")
        self.version = f"google/lyra {COMMIT[:7]}, ai-edge-litert {litert}"

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        frames = pad_to_frames(np.asarray(samples, dtype=np.float32), FRAME, 0)
        return self.pack(self.models.features(frames.reshape(-1)))

    def pack(self, features: npt.NDArray[np.float32]) -> bytes:
        """Features [frames, 64] -> the stream."""
        symbols = self.models.quantize(features, self.stages)
        return (symbols[:, ::2] << STAGE_BITS | symbols[:, 1::2]).astype(np.uint8).tobytes()

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        return self.models.synthesize(self.features(stream))

    def features(self, stream: bytes) -> npt.NDArray[np.float32]:
        """What the decoder is given, [frames, 64]; ValueError for a truncated stream."""
        if len(stream) % (self.stages // 2):
            raise ValueError("truncated stream: it ends inside a frame")
        pairs = np.frombuffer(stream, dtype=np.uint8).reshape(-1, self.stages // 2)
        symbols = np.stack([pairs >> STAGE_BITS, pairs & 15], axis=-1).reshape(-1, self.stages)
        return self.models.dequantize(symbols)
