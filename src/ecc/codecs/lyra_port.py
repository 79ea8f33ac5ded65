"""Lyra V2 with the port of its decoder to PyTorch in place of the graph of its authors: its scores
beside theirs say what a codec gains or loses by the port alone."""

import numpy as np
import numpy.typing as npt
import torch

from ecc.codecs.lyra import Lyra, LyraModels
from ecc.model.lyragan import LyraGan


class PortedModels(LyraModels):
    """Those of Lyra, but for the decoder; raises as they do."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self._decoder = LyraGan(folder)

    def synthesize(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            samples = self._decoder(torch.from_numpy(features)[None])[0]
        return np.clip(samples.numpy(), -1, 1)


class LyraPort(Lyra):
    """Lyra's own streams, decoded by the port through which training takes its gradient."""

    def __init__(self, stages: int, weights: str) -> None:
        super().__init__(stages, weights)
        self.models = PortedModels(weights)
        self.version += f", torch {torch.__version__}"
