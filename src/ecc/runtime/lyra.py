"""The transform of models around the latent of Lyra V2, as PyTorch computes it."""

from dataclasses import replace

import torch

from ecc.model.files import ModelFile
from ecc.model.weights import load_networks
from ecc.runtime.layers import Floats


class LyraTransform:
    """`ecc.model.lyra_transform.LyraTransform` of a model, between arrays of NumPy.

    `model` is the model with what is not in its file: code books of Lyra, if it uses them.

    Raises:
        ModelError, ModelUnavailableError: as of `load_networks`.
    """

    def __init__(self, model: ModelFile) -> None:
        codec = load_networks(model)
        self._transform = codec.transform
        self.samples_per_frame = self._transform.samples_per_frame
        arrays = {f"entropy.{name}": b.numpy() for name, b in codec.entropy.named_buffers()}
        self.model = replace(model, arrays=arrays | dict(model.arrays))

    @torch.inference_mode()
    def analyse(self, x: Floats, level: int) -> Floats:
        """Samples [T * samples_per_frame] -> y [T, channels]."""
        y = self._transform.analyse(torch.from_numpy(x)[None], torch.tensor([level]))
        found: Floats = y[0].double().numpy()
        return found

    @torch.inference_mode()
    def synthesise(self, y_hat: Floats, level: int) -> Floats:
        """y_hat [T, channels] -> samples [T * samples_per_frame]."""
        y = torch.from_numpy(y_hat)[None]
        samples: Floats = self._transform.synthesise(y, torch.tensor([level]))[0].numpy()
        return samples
