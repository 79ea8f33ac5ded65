"""Encoder and decoder of Lyra V2 (github.com/google/lyra) in PyTorch, with the weights that
`ecc.data.lyra.fetch_weights` put into a folder.

The graphs of its authors round activations to 8 bits, each implementation of them a little
differently; these do not round, and are as near to any of them as they are to each other. In
float64 they say the same on every machine, up to what is far below a step of 16-bit samples, and a
loss goes back through them.
"""

from pathlib import Path

from torch import Tensor

from ecc.lyra.models import find_weights
from ecc.lyra.tflite import StreamingGraph


class LyraEncoder(StreamingGraph):
    """Samples -> features.

    Raises:
        CodecUnavailable: the weights are missing, or not those of Lyra V2.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(find_weights(folder, "soundstream_encoder.tflite"))

    def forward(self, samples: Tensor) -> Tensor:
        """Samples [B, T * 320], 16 kHz -> features [B, T, 64]."""
        return super().forward(samples[..., None])


class LyraGan(StreamingGraph):
    """Features -> samples.

    Raises:
        CodecUnavailable: the weights are missing, or not those of Lyra V2.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(find_weights(folder, "lyragan.tflite"))

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, T, 64] -> samples [B, T * 320], 16 kHz, most of them in [-1, 1]."""
        return super().forward(features)[..., 0]
