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
with a scale hyperprior" (2018). The walk over the slices is written once (`EntropyModel.walk`),
and is handed an object that estimates, encodes or decodes the residual of each step, so that the
rate in training, the encoder and the decoder cannot drift apart.

Everything from z_hat to y_hat is made of the layers of `ecc.model.exact`: in float64, in which a
trained model is loaded, mu, index and y_hat are the same on every machine.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ecc.model import rans
from ecc.model.config import SCALES, EntropyConfig
from ecc.model.exact import STEP, FixedAttention, FixedTable, FixedTaps, fixed
from ecc.model.layers import LevelTable, wide
from ecc.model.priors import EntropyBottleneck, GaussianConditional, LowerBound

SCALE_MIN, SCALE_MAX = 0.11, 64.0
SCALE_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)
UNIT_INDEX = 22  # the scale nearest to 1
INDEX_GAIN = 4  # positions of the scale table in one unit of a network's output
ALL_FRAMES = slice(0, None, 1)
LRP_TAPS = 3  # latent frames that the refinement of one sees


def frame_groups(count: int) -> list[slice]:
    """Frames that are coded together, in the order of coding. Of four groups the frames 0 mod 8,
    4 mod 8, 2 mod 4, and the odd ones: each lies halfway between two that are known."""
    steps = [2**power for power in range(count - 1, 0, -1)]
    return [slice(0, None, 2 ** (count - 1)), *(slice(step // 2, None, step) for step in steps)]


class ResidualCoder(Protocol):
    """What the slice walk hands the residual of each slice to."""

    def __call__(self, residual: Tensor | None, index: Tensor) -> Tensor:
        """Residual y_i - mu [B, T', C] (None when decoding) and the real-valued scale index of
        each element -> the residual as the decoder knows it."""
        ...


@dataclass(frozen=True)
class Latent:
    """What a stream says: T frames of y in C channels and the z that goes with them."""

    y_hat: Tensor  # [1, T, C], float64, multiples of `exact.STEP`
    z: NDArray[np.int32]  # symbols [T / z_stride, z_channels]; no channels without hyperprior
    symbols: NDArray[np.int32]  # residuals of y [T, C]; 0 where they were skipped
    indexes: NDArray[np.int32]  # scale index of each [T, C]
    estimated: float = math.nan  # bits by the likelihoods, if it was encoded here

    def check(self, covered: bytes = b"") -> int:
        """A hash of `covered` and y_hat, of `rans.CHECK_BITS` bits."""
        steps = (self.y_hat / STEP).numpy().astype("<i4")
        return zlib.crc32(steps.tobytes(), zlib.crc32(covered)) & ((1 << rans.CHECK_BITS) - 1)


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


class SymbolCoder:
    """Encodes or decodes the symbols of each slice and keeps them; what it encodes, `estimator`
    counts too. Batch size 1."""

    def __init__(
        self, stream: rans.Encoder | rans.Decoder, tables: rans.Tables, estimator: Estimator
    ) -> None:
        self.stream, self.tables, self.estimator = stream, tables, estimator
        self.symbols: list[NDArray[np.int32]] = []  # one [T', C] for each step of the walk
        self.indexes: list[NDArray[np.int32]] = []

    def __call__(self, residual: Tensor | None, index: Tensor) -> Tensor:
        indexes = index[0].round().numpy().astype(np.int32)
        coded = indexes >= self.estimator.skip
        symbols = np.zeros_like(indexes)
        if isinstance(self.stream, rans.Decoder):
            symbols[coded] = self.stream.pull(indexes[coded], self.tables)
        else:
            assert residual is not None
            self.estimator(residual, index)
            symbols[coded] = _symbols(residual[0])[coded]
            self.stream.push(symbols[coded], indexes[coded], self.tables)
        self.symbols.append(symbols)
        self.indexes.append(indexes)
        return torch.from_numpy(symbols)[None].to(index)


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
        return hidden


class EntropyModel(nn.Module):
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
        self._tables: tuple[rans.Tables, rans.Tables | None] | None = None

    # ------------------------------------------------------------------ the one slice walk

    def walk(self, psi: Tensor, y: Tensor | None, code: ResidualCoder) -> Tensor:
        """Code all slices in order and return y_hat.

        Args:
            psi: [B, T, width], what z_hat and the quality level say of each latent frame.
            y: the latent [B, T, channels] to estimate or encode, or None to decode.
            code: estimates, encodes or decodes the residual of one slice.
        """
        slices = None if y is None else y.chunk(self.config.slices, dim=-1)
        y_hat: list[Tensor] = []
        for step, parameter_net in enumerate(self.parameter_nets):
            i, group = divmod(step, len(self.groups))
            frames = self.groups[group]
            support = [psi, *y_hat[:i]] if self.config.context else [psi]
            known = support if group == 0 else [*support, y_hat[i]]
            predicted = parameter_net(torch.cat(known, dim=-1), frames)
            mu, index = wide(predicted).chunk(2, dim=-1)
            index = self.index_bound(INDEX_GAIN * index + UNIT_INDEX).clamp(max=SCALES - 1)
            refined = mu + code(None if slices is None else slices[i][:, frames] - mu, index)
            if group == 0:  # frames that are still to come are zero
                y_hat.append(psi.new_zeros(*psi.shape[:2], mu.shape[-1], dtype=mu.dtype))
            if self.config.lrp:
                seen = _placed(y_hat[i], frames, refined)
                lrp = self.lrp_nets[step](torch.cat([*support, seen], dim=-1), frames)
                refined = refined + fixed(0.5 * F.hardtanh(wide(lrp)))
            y_hat[i] = _placed(y_hat[i], frames, refined)
        return torch.cat(y_hat, dim=-1)

    def join_steps(self, steps: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """What each step of the walk was about, [T', C'] each -> [T, C] in the order of y."""
        count = len(self.groups)
        groups = [np.hstack(steps[group::count]) for group in range(count)]
        joined = np.empty((sum(map(len, groups)), groups[0].shape[1]), groups[0].dtype)
        for frames, values in zip(self.groups, groups, strict=True):
            joined[frames] = values
        return joined

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
        y_hat = self.walk(self._psi(z_hat, y.shape[1], level), y, estimator)
        step_bits = torch.stack(estimator.step_bits, dim=-1)
        bits = {
            "z": z_bits,
            "slices": step_bits.unflatten(-1, (-1, len(self.groups))).sum(dim=-1),
            "skipped": torch.cat([s.flatten() for s in estimator.skipped]).float().mean(),
        }
        return y_hat, bits

    # ------------------------------------------------------------------ encode and decode

    def compress(
        self, y: Tensor, level: int, skip: int, covered: bytes = b""
    ) -> tuple[bytes, Latent]:
        """Code one latent y [1, T, channels], float64 -> the stream, and what it says.

        The check in the stream covers the bytes `covered` too, which the decoder must be given.
        Needs `update` first.
        """
        y_tables, z_tables = self.tables()
        encoder = rans.Encoder()
        levels = torch.tensor([level])
        z_hat, z, estimated = None, np.zeros((0, 0), np.int32), 0.0
        if z_tables is not None:
            z = _symbols(self._z(y, levels)[0])
            encoder.push(z.ravel(), self._z_indexes(len(z), level), z_tables)
            z_hat = torch.from_numpy(z)[None].to(y)
            estimated = self._z_bits(z_hat, levels).item()
        coder = SymbolCoder(encoder, y_tables, Estimator(self.gaussian, skip, training=False))
        y_hat = self.walk(self._psi(z_hat, y.shape[1], levels), y, coder)
        estimated += torch.stack(coder.estimator.step_bits).sum().item()
        latent = self._latent(y_hat, z, coder, estimated)
        return encoder.finish(latent.check(covered)), latent

    def decompress(
        self, stream: bytes, frames: int, level: int, skip: int, covered: bytes = b""
    ) -> Latent:
        """Decode what `compress` wrote.

        Raises:
            rans.CodingError: the stream does not decode to what was encoded, or `covered` differs.
        """
        y_tables, z_tables = self.tables()
        decoder = rans.Decoder(stream)
        z_hat, z = None, np.zeros((0, 0), np.int32)
        if z_tables is not None:
            rows = frames // self.config.z_stride
            z = decoder.pull(self._z_indexes(rows, level), z_tables).reshape(rows, -1)
            z_hat = torch.from_numpy(z)[None].to(torch.float64)
        coder = SymbolCoder(decoder, y_tables, Estimator(self.gaussian, skip, training=False))
        y_hat = self.walk(self._psi(z_hat, frames, torch.tensor([level])), None, coder)
        latent = self._latent(y_hat, z, coder, math.nan)
        if decoder.finish() != latent.check(covered):
            raise rans.CodingError("decodes to other symbols than were encoded")
        return latent

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
        self._tables = None

    def tables(self) -> tuple[rans.Tables, rans.Tables | None]:
        """The tables of y, one for each scale, and those of z, one for each level and channel."""
        if self._tables is None:
            z_tables = None
            if self.config.hyperprior:
                # CompressAI codes z less its median; these tables hold z itself.
                medians = self.bottleneck.quantiles[:, 0, 1].int()
                z_tables = _coding_tables(self.bottleneck, medians)
            self._tables = _coding_tables(self.gaussian), z_tables
        return self._tables

    def part_names(self, level: int) -> list[str]:
        """What equal parts of the symbols of a `Latent` are, from left to right."""
        return [f"slice {number}" for number in range(1, self.config.slices + 1)]

    def costs(self, latent: Latent, level: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bits of each symbol of z and of y, in their shapes, under the tables that code them;
        of a skipped one what it would cost."""
        y_tables, z_tables = self.tables()
        z = np.zeros(latent.z.shape)
        if z_tables is not None:
            indexes = self._z_indexes(len(latent.z), level)
            z = z_tables.bits(latent.z.ravel(), indexes).reshape(latent.z.shape)
        y = y_tables.bits(latent.symbols.ravel(), latent.indexes.ravel())
        return z, y.reshape(latent.symbols.shape)

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

    def _latent(
        self, y_hat: Tensor, z: NDArray[np.int32], coder: SymbolCoder, estimated: float
    ) -> Latent:
        symbols, indexes = (self.join_steps(steps) for steps in (coder.symbols, coder.indexes))
        return Latent(y_hat, z, symbols, indexes, estimated)

    def _z_indexes(self, rows: int, level: int) -> NDArray[np.int32]:
        channels = self.config.z_channels
        return np.tile(np.arange(channels, dtype=np.int32) + level * channels, rows)


def _placed(sequence: Tensor, frames: slice, values: Tensor) -> Tensor:
    """The sequence [B, T, C] with `values` at some of its `frames`."""
    placed = sequence.clone()
    placed[:, frames] = values
    return placed


def _symbols(values: Tensor) -> NDArray[np.int32]:
    limit = rans.SYMBOL_LIMIT
    return values.round().clamp(-limit, limit - 1).numpy().astype(np.int32)


def _coding_tables(
    model: EntropyBottleneck | GaussianConditional, shift: Tensor | int = 0
) -> rans.Tables:
    return rans.Tables(
        model.quantized_cdf.numpy(), model.cdf_length.numpy(), (model.offset + shift).numpy()
    )
