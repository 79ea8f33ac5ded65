"""ECC: the transform and the entropy model together, for training; `ecc.runtime` codes.

x --transform.analyse--> y --entropy--> y_hat --transform.synthesise--> x_hat
                               |
                              bits

In the peer that ECC is compared with, residual vector quantization takes the place of the entropy
model; all else is the same code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecc.model import exact
from ecc.model.config import CHUNK_FRAMES, CodecConfig
from ecc.model.entropy import EntropyModel
from ecc.model.layers import LevelTable
from ecc.model.lyra_transform import LyraTransform
from ecc.model.rvq import ResidualVectorQuantizer
from ecc.model.transform import Transform
from ecc.speech import SAMPLE_RATE


class ECC(nn.Module):
    """The entropy-constrained speech codec, 16 kHz mono.

    `forward` estimates the rate and reconstructs. `update` makes the weights of the entropy model
    fixed-point and builds the coding tables. One model serves `config.levels` rates; the level, 0
    for the lowest, tells which.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.transform: Transform | LyraTransform
        if config.transform.kind == "lyra":
            self.transform = LyraTransform(config.transform, config.levels)
        else:
            self.transform = Transform(config.transform, config.levels)
        channels = config.transform.channels
        self.entropy: EntropyModel | ResidualVectorQuantizer
        if config.rvq.stages:
            given = None
            if config.rvq.codebooks == "lyra":
                assert isinstance(self.transform, LyraTransform)
                given = self.transform.codebooks()
            self.entropy = ResidualVectorQuantizer(config.rvq, channels, given)
            stride = 1
            # All levels share the code books, so y is the same at each: no level in g_a.
            for module in self.transform.g_a.modules():
                if isinstance(module, LevelTable):
                    module.requires_grad_(False)
            self.transform.g_s.gain.requires_grad_(False)
        else:
            self.entropy = EntropyModel(config.entropy, channels, config.levels)
            stride = config.entropy.z_stride
        # Samples are padded to whole frames of z.
        self.granule = self.transform.samples_per_frame * stride
        if CHUNK_FRAMES % stride:
            raise ValueError(f"z_stride must divide {CHUNK_FRAMES}")

    def forward(self, x: Tensor, level: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Samples [B, T], T a multiple of `granule`, and the level [B] of each -> (x_hat [B, T],
        bits as of EntropyModel)."""
        y_hat, bits = self.entropy(self.transform.analyse(x, level), level)
        return self.transform.synthesise(y_hat, level), bits

    def spread_levels(self, lmbda: Sequence[float]) -> None:
        """Start the quantization steps of the levels apart, by a first guess of how they follow
        lambda: training moves them too slowly to find it."""
        log_lmbda = torch.tensor(lmbda).log()
        spread = self.transform.level_spread * (log_lmbda - log_lmbda.mean())
        for gain in (self.transform.g_a.gain, self.transform.g_s.gain):
            nn.init.zeros_(gain.weight).data += spread[:, None]

    def kbps(self, bits: dict[str, Tensor], samples: int) -> Tensor:
        """Estimated rate [B] of sequences of `samples` samples, in kbit/s."""
        return (bits["z"] + bits["slices"].sum(dim=-1)) * (SAMPLE_RATE / samples / 1000)

    def update(self) -> None:
        """Round the weights that must be fixed-point and build the coding tables; once, after
        training and after rounding of the weights to half precision."""
        exact.round_weights(self)
        self.entropy.update()
