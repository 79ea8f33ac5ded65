"""LyraGAN, the decoder of Lyra V2 (github.com/google/lyra), in PyTorch: a loss goes back through
it to the features that it is given."""

from pathlib import Path

from torch import Tensor

from ecc.files import verify
from ecc.lyra.models import SHA256
from ecc.lyra.tflite import StreamingGraph

FILE = "lyragan.tflite"


class LyraGan(StreamingGraph):
    """Features -> samples, with the weights that `ecc.data.lyra.fetch_weights` put into `folder`.

    The graph of its authors rounds activations to 8 bits, each implementation of it a little
    differently; this one does not round, and is as near to any of them as they are to each other.

    Raises:
        FileNotFoundError: the weights are missing.
        ChecksumError: they are not those of Lyra V2.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(verify(Path(folder) / FILE, SHA256[FILE]))

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, T, 64] -> samples [B, T * 320], 16 kHz, most of them in [-1, 1]."""
        return super().forward(features)[..., 0]
