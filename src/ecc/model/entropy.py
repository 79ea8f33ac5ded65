"""The entropy model: hyperprior, channel slices, latent residual prediction, entropy skip.

    y --h_a--> z --Q--> z_hat --h_s--> psi
    for each slice i:   (psi, y_hat of slices < i) -> mu, scale index
                        residual = Q(y_i - mu), or 0 where the index says skip
                        y_hat_i = mu + residual + lrp(psi, y_hat of slices <= i)

Minnen and Singh, "Channel-wise autoregressive entropy models for learned image compression"
(2020), walk the channels this way; z follows Ballé et al., "Variational image compression with a
scale hyperprior" (2018). The walk over the slices is written once (`EntropyModel.walk`), and is
handed an object that estimates, encodes or decodes the residual of a slice, so that the rate in
training, the encoder and the decoder cannot drift apart.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from compressai.ans import BufferedRansEncoder, RansDecoder
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.ops import LowerBound
from torch import Tensor, nn

from ecc.model.config import SCALES, EntropyConfig
from ecc.model.layers import LinearAttention, Taps

SCALE_MIN, SCALE_MAX = 0.11, 64.0
SCALE_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)
# CompressAI's escape code for values outside a table hangs near 2^30.
SYMBOL_LIMIT = 2**15


class ResidualCoder(Protocol):
    """What the slice walk hands the residual of each slice to."""

    def __call__(self, residual: Tensor | None, index: Tensor) -> Tensor:
        """Residual y_i - mu [B, T, C] (None when decoding) and the real-valued scale index of
        each element -> the residual as the decoder knows it."""
        ...


def scale_of(index: Tensor) -> Tensor:
    """Standard deviation at a (real-valued) position of the logarithmic scale table."""
    return SCALE_MIN * torch.exp(SCALE_STEP * index)


class Estimator:
    """Counts bits by the likelihoods; nothing is coded.

    In training the rate is that of the residual with uniform noise (Ballé et al., 2017) and the
    value passed on is rounded with a straight-through gradient. Skipped elements then still count
    their (tiny) rate: without it nothing would keep their predicted scales true. Outside training
    symbols are rounded, scales are those of the table, and skipped elements cost nothing.
    """

    def __init__(self, gaussian: GaussianConditional, skip: int, training: bool) -> None:
        self.gaussian, self.skip, self.training = gaussian, skip, training
        self.slice_bits: list[Tensor] = []  # one [B] for each slice
        self.skipped: list[Tensor] = []  # one boolean [B, T, C] for each slice

    def __call__(self, residual: Tensor | None, index: Tensor) -> Tensor:
        assert residual is not None
        skipped = index.round() < self.skip
        rounded = residual.round()
        if self.training:
            noisy = residual + torch.rand_like(residual) - 0.5
            likelihoods = self._likelihoods(noisy, scale_of(index))
            # Straight-through: the value is rounded, the gradient is that of the identity.
            rounded = residual + (rounded - residual).detach()
        else:
            likelihoods = self._likelihoods(rounded, scale_of(index.round()))
            likelihoods = likelihoods.masked_fill(skipped, 1.0)
        self.slice_bits.append(-torch.log2(likelihoods).sum(dim=(1, 2)))
        self.skipped.append(skipped)
        return rounded.masked_fill(skipped, 0.0)

    def _likelihoods(self, residual: Tensor, scale: Tensor) -> Tensor:
        likelihoods: Tensor = self.gaussian._likelihood(residual, scale)
        return self.gaussian.likelihood_lower_bound(likelihoods)


class Encoder:
    """Pushes the symbols of each slice into a rANS encoder. Batch size 1."""

    def __init__(self, rans: BufferedRansEncoder, tables: "Tables", skip: int) -> None:
        self.rans, self.tables, self.skip = rans, tables, skip

    def __call__(self, residual: Tensor | None, index: Tensor) -> Tensor:
        assert residual is not None
        table = index.round().int()
        coded = table >= self.skip
        symbols = residual.round().clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT) * coded
        self.rans.encode_with_indexes(
            symbols[coded].int().tolist(), table[coded].tolist(), *self.tables
        )
        return symbols


class Decoder:
    """Pulls the symbols of each slice out of a rANS decoder. Batch size 1."""

    def __init__(self, rans: RansDecoder, tables: "Tables", skip: int) -> None:
        self.rans, self.tables, self.skip = rans, tables, skip

    def __call__(self, residual: Tensor | None, index: Tensor) -> Tensor:
        table = index.round().int()
        coded = table >= self.skip
        symbols = torch.zeros_like(index)
        decoded = self.rans.decode_stream(table[coded].tolist(), *self.tables)
        symbols[coded] = torch.tensor(decoded, dtype=symbols.dtype)
        return symbols


Tables = tuple[list[list[int]], list[int], list[int]]  # CDFs, their lengths, their offsets


class EntropyModel(nn.Module):
    """Codes a latent y [B, T, channels]; T is a multiple of `z_stride`."""

    def __init__(self, config: EntropyConfig, channels: int) -> None:
        super().__init__()
        if channels % config.slices:
            raise ValueError(f"{channels} channels do not make {config.slices} equal slices")
        self.config = config
        size = channels // config.slices
        width = config.width
        self.gaussian = GaussianConditional(scale_of(torch.arange(SCALES)).tolist())
        self.index_bound = LowerBound(0.0)
        if config.hyperprior:
            stacked = channels * config.z_stride
            self.h_a = nn.Sequential(
                nn.Linear(stacked, 2 * width), nn.ReLU(), nn.Linear(2 * width, config.z_channels)
            )
            self.h_s = nn.Sequential(
                Taps(config.z_channels, width, taps=3),
                nn.ReLU(),
                *[LinearAttention(width) for _ in range(config.attention)],
                nn.Linear(width, width * config.z_stride),
            )
            self.bottleneck = EntropyBottleneck(config.z_channels, init_scale=3)
            # Quantiles are searched for once, after training, in `update`.
            self.bottleneck.quantiles.requires_grad_(False)
        else:
            self.psi = nn.Parameter(torch.zeros(width))
        self.parameter_nets = nn.ModuleList()
        self.lrp_nets = nn.ModuleList()
        for i in range(config.slices):
            before = i * size if config.context else 0
            self.parameter_nets.append(_net(width + before, width, 2 * size))
            if config.lrp:
                self.lrp_nets.append(_net(width + before + size, width, size))

    # ------------------------------------------------------------------ the one slice walk

    def walk(self, psi: Tensor, y: Tensor | None, code: ResidualCoder) -> Tensor:
        """Code all slices in order and return y_hat.

        Args:
            psi: [B, T, width], what z_hat says of each latent frame.
            y: the latent [B, T, channels] to estimate or encode, or None to decode.
            code: estimates, encodes or decodes the residual of one slice.
        """
        slices = None if y is None else y.chunk(self.config.slices, dim=-1)
        y_hat: list[Tensor] = []
        for i, parameter_net in enumerate(self.parameter_nets):
            support = [psi, *y_hat] if self.config.context else [psi]
            mu, index = parameter_net(torch.cat(support, dim=-1)).float().chunk(2, dim=-1)
            # The network starts out at sigma = 1 and moves in steps of the table.
            index = self.index_bound(4 * index - math.log(SCALE_MIN) / SCALE_STEP)
            index = index.clamp(max=SCALES - 1)
            residual = code(None if slices is None else slices[i] - mu, index)
            refined = mu + residual
            if self.config.lrp:
                lrp = self.lrp_nets[i](torch.cat([*support, refined], dim=-1)).float()
                refined = refined + 0.5 * F.hardtanh(lrp)
            y_hat.append(refined)
        return torch.cat(y_hat, dim=-1)

    # ------------------------------------------------------------------ estimate

    def forward(self, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Estimate the rate of y [B, T, channels].

        Returns:
            y_hat [B, T, channels] and the bits of each sequence: `z` [B] and `slices`
            [B, slices]; `skipped` is the share of elements that skip.
        """
        estimator = Estimator(self.gaussian, self.config.skip, self.training)
        z_bits = y.new_zeros(y.shape[0])
        if self.config.hyperprior:
            z = self._z(y)
            _, likelihoods = self.bottleneck(z.transpose(1, 2))
            z_bits = -torch.log2(likelihoods).sum(dim=(1, 2))
            z_hat = z + (z.round() - z).detach()
            psi = self._psi(z_hat)
        else:
            psi = self.psi.expand(*y.shape[:2], -1)
        y_hat = self.walk(psi, y, estimator)
        bits = {
            "z": z_bits,
            "slices": torch.stack(estimator.slice_bits, dim=-1),
            "skipped": torch.cat(estimator.skipped, dim=-1).float().mean(),
        }
        return y_hat, bits

    # ------------------------------------------------------------------ encode and decode

    def compress(self, y: Tensor, skip: int) -> bytes:
        """Code one latent y [1, T, channels] into a rANS stream. Needs `update` first."""
        rans = BufferedRansEncoder()
        if self.config.hyperprior:
            z_hat = self._z(y).round().clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)
            symbols = (z_hat - self._medians()).int()
            rans.encode_with_indexes(
                symbols.flatten().tolist(), self._z_indexes(z_hat.shape[1]), *self._z_tables()
            )
            psi = self._psi(z_hat)
        else:
            psi = self.psi.expand(*y.shape[:2], -1)
        self.walk(psi, y, Encoder(rans, self._y_tables(), skip))
        stream: bytes = rans.flush()
        return stream

    def decompress(self, stream: bytes, frames: int, skip: int) -> Tensor:
        """Decode what `compress` wrote -> y_hat [1, frames, channels]."""
        rans = RansDecoder()
        rans.set_stream(stream)
        if self.config.hyperprior:
            z_frames = frames // self.config.z_stride
            symbols = rans.decode_stream(self._z_indexes(z_frames), *self._z_tables())
            z_hat = torch.tensor(symbols, dtype=torch.float32)
            z_hat = z_hat.view(1, z_frames, self.config.z_channels) + self._medians()
            psi = self._psi(z_hat)
        else:
            psi = self.psi.expand(1, frames, -1)
        return self.walk(psi, None, Decoder(rans, self._y_tables(), skip))

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

    def _z(self, y: Tensor) -> Tensor:
        batch, frames, channels = y.shape
        stacked = y.reshape(batch, frames // self.config.z_stride, channels * self.config.z_stride)
        z: Tensor = self.h_a(stacked).float()
        return z

    def _psi(self, z_hat: Tensor) -> Tensor:
        psi: Tensor = self.h_s(z_hat)
        return psi.reshape(psi.shape[0], -1, self.config.width)

    def _medians(self) -> Tensor:
        return self.bottleneck.quantiles[:, 0, 1]

    def _z_indexes(self, frames: int) -> list[int]:
        return list(range(self.config.z_channels)) * frames

    def _z_tables(self) -> Tables:
        return _tables(self.bottleneck)

    def _y_tables(self) -> Tables:
        return _tables(self.gaussian)


def _net(inputs: int, width: int, outputs: int) -> nn.Sequential:
    layers = [Taps(inputs, width, taps=3), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    last = nn.Linear(width, outputs)
    # Start at mu = 0, sigma = 1: the transform learns before the entropy model interferes.
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def _tables(model: EntropyBottleneck | GaussianConditional) -> Tables:
    return model.quantized_cdf.tolist(), model.cdf_length.tolist(), model.offset.tolist()
