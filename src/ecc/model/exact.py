"""Layers that give the same result on every machine.

What selects a coding table must be equal to the last bit in encoder and decoder. In float64 these
layers compute with integers in disguise: weights are multiples of 2^-14 and activations multiples
of 2^-10 within ±2^15, so every product is a multiple of 2^-24, and as long as the sums stay below
2^53 of these (`check` proves it from the weights) they are exact in any order: whatever the matrix
library, the number of threads, the batch or the instruction set. The only other operation is a
division, which IEEE 754 rounds correctly. Elsewhere (float32 and bfloat16, in training, and within
`unrounded`) the same code runs without rounding, and differs from the exact result by about a step.

Ballé, Johnston and Minnen, "Integer networks for data compression with latent-variable models"
(2019), state the problem and use integers outright.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ecc.model.fixed_point import ATTENTION_LIMIT, LIMIT, STEP, VALUE_LIMIT, WEIGHT_STEP
from ecc.model.layers import LevelTable, Taps

_rounded = True


@contextmanager
def unrounded() -> Iterator[None]:
    """Nothing is rounded in float64 either: another model, which no stream was coded with, to tell
    what fixed point costs. Unlike float32's, its results are those of every machine to about 15
    digits."""
    global _rounded
    _rounded = False
    try:
        yield
    finally:
        _rounded = True


def fixed(x: Tensor, low: float = -LIMIT, high: float = LIMIT) -> Tensor:
    """x within [low, high]; in float64 rounded to a multiple of `STEP` as well."""
    if _rounded and x.dtype == torch.float64:
        x = torch.round(x / STEP) * STEP
    return x.clamp(low, high)


class FixedTaps(Taps):
    """`Taps` whose outputs are fixed-point."""

    def forward(self, x: Tensor, start: int = 0, step: int = 1) -> Tensor:
        """As of `Taps`."""
        return fixed(super().forward(x, start, step))


class FixedTable(LevelTable):
    """`LevelTable` whose vectors are fixed-point."""

    def forward(self, level: Tensor) -> Tensor:
        """[B] -> [B, 1, width]."""
        return fixed(super().forward(level))


class FixedAttention(nn.Module):
    """Residual linear attention over a whole sequence (`layers.LinearAttention`) without
    normalisation of its input: means over time and the quotient are rounded to fixed point."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = FixedTaps(width, 3 * width)
        self.out = FixedTaps(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]; width is a multiple of the number of heads."""
        batch, frames, width = x.shape
        qkv = self.qkv(x).view(batch, frames, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = q.clamp(0, ATTENTION_LIMIT), k.clamp(0, ATTENTION_LIMIT)
        v = v.clamp(-VALUE_LIMIT, VALUE_LIMIT)
        # Sums over time are exact; their division by the number of frames is rounded once.
        state = fixed((k.transpose(-1, -2) @ v) / frames)
        key = fixed(k.sum(dim=-2, keepdim=True) / frames)
        normaliser = (q * key).sum(dim=-1, keepdim=True) + STEP
        attended = fixed((q @ state) / normaliser)
        return fixed(x + self.out(attended.transpose(1, 2).reshape(batch, frames, width)))


def round_weights(module: nn.Module) -> None:
    """Round the weights of all fixed-point layers in `module` to multiples of `WEIGHT_STEP`."""
    with torch.no_grad():
        for layer in _layers(module):
            for parameter in layer.parameters(recurse=False):
                parameter.copy_(torch.round(parameter / WEIGHT_STEP) * WEIGHT_STEP)


def check(module: nn.Module) -> None:
    """Prove that all fixed-point layers in `module` are exact.

    Raises:
        ValueError: a weight is no multiple of `WEIGHT_STEP`, or a sum could pass 2^53 steps.
    """
    for layer in _layers(module):
        for parameter in layer.parameters(recurse=False):
            if not torch.equal(parameter, torch.round(parameter / WEIGHT_STEP) * WEIGHT_STEP):
                raise ValueError("weights of the entropy model are not fixed-point")
        if isinstance(layer, FixedTaps):
            # Inputs are fixed-point, or a symbol and its mean and refinement: below 2^17.
            largest = layer.weight.double().abs().sum(dim=1) * 2.0**17 + layer.bias.double().abs()
            if not (largest < 2.0**53 * STEP * WEIGHT_STEP).all():
                raise ValueError("weights of the entropy model are too large for exact sums")


def _layers(module: nn.Module) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, FixedTaps | FixedTable)]
