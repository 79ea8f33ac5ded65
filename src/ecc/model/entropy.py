"""The entropy model: hyperprior, context of channel slices and of groups of frames, latent
residual prediction, entropy skip.

    y --h_a--> z --Q--> z_hat --h_s--> psi
    for each slice i, and in it for each group of frames:
        (psi, y_hat of slices < i, y_hat_i of the groups before) -> mu, scale index
        residual = Q(y_i - mu), or 0 where the index says skip
        y_hat_i = mu + residual + lrp(all of these)

Minnen and Singh, "Channel-wise autoregressive entropy models for learned image compression"
(2020), walk the channels this way; that later frames see those on either side of them extends the
checkerboard of He et al., "Checkerboard context model for efficient learned image compression"
(2021), which is the case of two groups; z follows Ballé et al., "Variational image compression
with a scale hyperprior" (2018). The walk over the slices is that of `ecc.model.walk`; here it is
handed an object that estimates, in `ecc.runtime` one that encodes or decodes.

Everything from z_hat to y_hat is made of the layers of `ecc.model.exact`: in float64, in which a
trained model is loaded, mu, index and y_hat are the same on every machine.
"""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ecc.model.config import SCALES, EntropyConfig
from ecc.model.exact import FixedAttention, FixedTable, FixedTaps, fixed
from ecc.model.layers import LevelTable, wide
from ecc.model.priors import EntropyBottleneck, GaussianConditional, LowerBound
from ecc.model.walk import ALL_FRAMES, INDEX_GAIN, UNIT_INDEX, SliceWalk, frame_groups

SCALE_MIN, SCALE_MAX = 0.11, 64.0
SCALE_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)
LRP_TAPS = 3  # latent frames that the refinement of one sees


def scale_of(index: Tensor) -> Tensor:
    """Standard deviation at a (real-valued) position of the logarithmic scale table."""
    return SCALE_MIN * torch.exp(SCALE_STEP * index)


class Estimator:
    """Counts bits by the likelihoods; nothing is coded.

    In training the rate is that of the residual with uniform noise (Ballé et al., 2017) and the
    value passed on is rounded with a straight-through gradient. Nothing is skipped: an element
    that is has no gradient, so a level on which most are would never learn to use them. Outside
    training symbols are rounded, scales are those of the table, and skipped elements are zero and
    cost nothing.
    """

    def __init__(self, gaussian: GaussianConditional, skip: int, training: bool) -> None:
        self.gaussian, self.skip, self.training = gaussian, skip, training
        self.step_bits: list[Tensor] = []  # one [B] for each step of the walk
        self.skipped: list[Tensor] = []  # one boolean [B, T', C] for each step

    def __call__(self, residual: Tensor | None, index: Tensor) -> Tensor:
        assert residual is not None
        skipped = index.round() < self.skip
        rounded = residual.round()
        if self.training:
            noisy = residual + torch.rand_like(residual) - 0.5
            likelihoods = self._likelihoods(noisy, scale_of(index))
            # Straight-through: the value is rounded, the gradient is that of the identity.
            coded = residual + (rounded - residual).detach()
        else:
            likelihoods = self._likelihoods(rounded, scale_of(index.round()))
            likelihoods = likelihoods.masked_fill(skipped, 1.0)
            coded = rounded.masked_fill(skipped, 0.0)
        self.step_bits.append(-torch.log2(likelihoods).sum(dim=(1, 2)))
        self.skipped.append(skipped)
        return coded

    def _likelihoods(self, residual: Tensor, scale: Tensor) -> Tensor:
        likelihoods: Tensor = self.gaussian._likelihood(residual, scale)
        return self.gaussian.likelihood_lower_bound(likelihoods)


class Predictor(nn.Sequential):
    """Three layers, the first of which sees `taps` frames: those on either side too."""

    def __init__(self, inputs: int, width: int, outputs: int, taps: int) -> None:
        first = FixedTaps(inputs, width, taps)
        last = FixedTaps(width, outputs)
        # Start at mu = 0, sigma = 1: the transform learns before the entropy model interferes.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(first, nn.ReLU(), FixedTaps(width, width), nn.ReLU(), last)

    def forward(self, x: Tensor, frames: slice = ALL_FRAMES) -> Tensor:
        """[B, T, inputs] -> [B, T', outputs], these frames alone."""
        first, *rest = self
        hidden: Tensor = first(x, frames.start, frames.step)
        for layer in rest:
            hidden = layer(hidden)
        return wide(hidden)


class EntropyModel(nn.Module, SliceWalk):
    """Codes a latent y [B, T, channels]; T is a multiple of `z_stride`.

    Args:
        config: sizes and switches.
        channels: of y.
        levels: quality levels that the model serves; each has a prior of z of its own and
            vectors that tell the networks of it.
    """

    def __init__(self, config: EntropyConfig, channels: int, levels: int) -> None:
        super().__init__()
        if channels % config.slices:
            raise ValueError(f"{channels} channels do not make {config.slices} equal slices")
        self.config, self.levels = config, levels
        size = channels // config.slices
        width = config.width
        self.gaussian = GaussianConditional(scale_of(torch.arange(SCALES)).tolist())
        self.index_bound = LowerBound(0.0)
        self.psi_level = FixedTable(levels, width)
        if config.hyperprior:
            stacked = channels * config.z_stride
            self.h_a = nn.Sequential(
                nn.Linear(stacked, 2 * width), nn.ReLU(), nn.Linear(2 * width, config.z_channels)
            )
            self.z_gain = LevelTable(levels, config.z_channels)
            self.z_level = FixedTable(levels, width)
            self.h_s_in = FixedTaps(config.z_channels, width, taps=3)
            self.h_s = nn.Sequential(
                *[FixedAttention(width) for _ in range(config.attention)],
                FixedTaps(width, width * config.z_stride),
            )
            self.bottleneck = EntropyBottleneck(config.z_channels * levels, init_scale=3)
            # Quantiles are searched for once, after training, in `update`.
            self.bottleneck.quantiles.requires_grad_(False)
        self.parameter_nets = nn.ModuleList()
        self.lrp_nets = nn.ModuleList()
        self.groups = frame_groups(len(config.taps))
        for i, (group, taps) in product(range(config.slices), enumerate(config.taps)):
            before = width + (i * size if config.context else 0)
            inputs = before + (size if group else 0)
            self.parameter_nets.append(Predictor(inputs, width, 2 * size, taps))
            if config.lrp:
                self.lrp_nets.append(Predictor(before + size, width, size, LRP_TAPS))

    # ------------------------------------------------------------------ of the walk

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """As of `Walk`."""
        return torch.cat(list(parts), dim=-1)

    def fixed(self, x: Tensor) -> Tensor:
        """As of `Walk`."""
        return fixed(x)

    def to_index(self, x: Tensor) -> Tensor:
        """As of `SliceWalk`."""
        index: Tensor = self.index_bound(INDEX_GAIN * x + UNIT_INDEX)
        return index.clamp(max=SCALES - 1)

    def to_lrp(self, x: Tensor) -> Tensor:
        """As of `SliceWalk`."""
        return fixed(0.5 * F.hardtanh(x))

    # ------------------------------------------------------------------ estimate

    def forward(
        self, y: Tensor, level: Tensor, estimator: Estimator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Estimate the rate of y [B, T, channels] at the quality level [B] of each sequence.

        Args:
            y: the latent.
            level: of each sequence.
            estimator: counts the bits; if None, a new one with the skip threshold of the model.

        Returns:
            y_hat [B, T, channels] and the bits of each sequence: `z` [B] and `slices`
            [B, slices]; `skipped` is the share of elements that skip.
        """
        if estimator is None:
            estimator = Estimator(self.gaussian, self.config.skip, self.training)
        z_bits = y.new_zeros(y.shape[0])
        z_hat = None
        if self.config.hyperprior:
            z = self._z(y, level)
            z_bits = self._z_bits(z, level)
            z_hat = z + (z.round() - z).detach()
        psi = self._psi(z_hat, y.shape[1], level)
        y_hat = self.walk(psi, torch.zeros_like(y, dtype=wide(psi).dtype), y, estimator)
        step_bits = torch.stack(estimator.step_bits, dim=-1)
        bits = {
            "z": z_bits,
            "slices": step_bits.unflatten(-1, (-1, len(self.groups))).sum(dim=-1),
            "skipped": torch.cat([s.flatten() for s in estimator.skipped]).float().mean(),
        }
        return y_hat, bits

    @torch.inference_mode()
    def likelihood_bits(
        self,
        z: NDArray[np.int32],
        symbols: NDArray[np.int32],
        indexes: NDArray[np.int32],
        level: int,
        skip: int,
    ) -> float:
        """Bits of what a stream says (`ecc.runtime.entropy.Latent`), by the likelihoods."""
        estimator = Estimator(self.gaussian, skip, training=False)
        estimator(
            torch.from_numpy(symbols)[None].double(), torch.from_numpy(indexes)[None].double()
        )
        bits = estimator.step_bits[0]
        if self.config.hyperprior:
            z_hat = torch.from_numpy(z)[None].double()
            bits = bits + self._z_bits(z_hat, torch.tensor([level]))
        return bits.item()

    @torch.no_grad()
    def update(self) -> None:
        """Build the coding tables from the trained distributions. They are kept in buffers, so
        that every machine codes with the tables that this one built."""
        self.gaussian.update()
        if self.config.hyperprior:
            self.bottleneck._update_quantiles()
            # Integer medians: z is rounded to integers in training, and stays on that lattice.
            self.bottleneck.quantiles[:, :, 1].round_()
            self.bottleneck.update(force=True)

    # ------------------------------------------------------------------ parts

    def _z(self, y: Tensor, level: Tensor) -> Tensor:
        batch, frames, channels = y.shape
        stacked = y.reshape(batch, frames // self.config.z_stride, channels * self.config.z_stride)
        return wide(self.h_a(stacked)) * torch.exp(self.z_gain(level))

    def _z_bits(self, z: Tensor, level: Tensor) -> Tensor:
        # The prior of each level has channels of its own; those of the others do not count.
        _, likelihoods = self.bottleneck(z.transpose(1, 2).repeat(1, self.levels, 1))
        own = likelihoods.unflatten(1, (self.levels, -1))[torch.arange(len(z)), level]
        return -torch.log2(own).sum(dim=(1, 2))

    def _psi(self, z_hat: Tensor | None, frames: int, level: Tensor) -> Tensor:
        psi: Tensor = self.psi_level(level)
        if z_hat is None:
            return psi.expand(-1, frames, -1)
        hidden = F.relu(self.h_s_in(z_hat) + self.z_level(level))
        return psi + self.h_s(hidden).reshape(len(z_hat), frames, self.config.width)
