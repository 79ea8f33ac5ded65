"""Lyra V2 with the port of its decoder to PyTorch in place of the graph of its authors: its scores
beside theirs say what a codec gains or loses by the port alone."""

import numpy as np
import numpy.typing as npt
import torch

from ecc.codecs.lyra import Lyra
from ecc.lyra.decoder import LyraGan


class LyraPort(Lyra):
    """Lyra's own streams, decoded by the port through which training takes its gradient."""

    def __init__(self, stages: int, weights: str) -> None:
        super().__init__(stages, weights)
        self.decoder = LyraGan(weights)
        self.version += f", torch {torch.__version__}"

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            samples = self.decoder(torch.from_numpy(self.features(stream))[None])[0]
        return np.clip(samples.numpy(), -1, 1)
