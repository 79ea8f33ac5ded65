"""Lyra V2 with the ports of its encoder and decoder to PyTorch in place of the graphs of its
authors: its scores beside theirs say what a codec gains or loses by the ports alone."""

import numpy as np
import numpy.typing as npt
import torch

from ecc.codecs.base import pad_to_frames
from ecc.codecs.lyra import Lyra
from ecc.lyra.models import FRAME


class LyraPort(Lyra):
    """Lyra, heard and spoken by the ports that stand around the codecs trained on its latent."""

    def __init__(self, stages: int, weights: str) -> None:
        super().__init__(stages, weights)
        from ecc.lyra.port import (
            LyraEncoder,
            LyraGan,
        )  # imports the package that has just been found

        self.encoder, self.decoder = LyraEncoder(weights).double(), LyraGan(weights).double()
        self.version += f", torch {torch.__version__}"

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        frames = pad_to_frames(np.asarray(samples, dtype=np.float64), FRAME, 0)
        with torch.inference_mode():
            features = self.encoder(torch.from_numpy(frames.reshape(1, -1)))[0]
        return self.pack(features.float().numpy())

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        features = torch.from_numpy(self.features(stream)).double()
        with torch.inference_mode():
            samples = self.decoder(features[None])[0]
        return samples.clamp(-1, 1).float().numpy()
