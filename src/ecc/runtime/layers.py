"""The layers of `ecc.model.layers` and `ecc.model.exact` in NumPy, of one sequence [T, C].

A layer is made of the arrays that a model file has for it, and computes in float64.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ecc.model.fixed_point import ATTENTION_LIMIT, LIMIT, STEP, VALUE_LIMIT, WEIGHT_STEP
from ecc.model.walk import ALL_FRAMES

Floats = NDArray[np.float64]

HEADS = 4  # of attention


class State:
    """The arrays of a model, or of the part of it whose names begin with `prefix`."""

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]], prefix: str = "") -> None:
        self._arrays, self._prefix = arrays, prefix

    def __getitem__(self, name: str) -> Floats:
        """An array in float64. Raises KeyError, with the whole name, where there is none."""
        return self.raw(name).astype(np.float64)

    def raw(self, name: str) -> NDArray[np.generic]:
        """An array as the file holds it."""
        return self._arrays[self._prefix + name]

    def part(self, name: str) -> "State":
        """The part `name` of this part."""
        return State(self._arrays, f"{self._prefix}{name}.")

    def names(self) -> set[str]:
        """Of the arrays and parts right below this one."""
        start = len(self._prefix)
        own = (key for key in self._arrays if key.startswith(self._prefix))
        return {key[start:].partition(".")[0] for key in own}

    def parts(self) -> list["State"]:
        """The parts of a sequence, which are called by their number."""
        return [self.part(name) for name in sorted(self.names(), key=int)]


class Linear:
    """Linear map of each frame."""

    def __init__(self, state: State) -> None:
        self.weight, self.bias = state["weight"], state["bias"]

    def __call__(self, x: Floats) -> Floats:
        """[T, inputs] -> [T, outputs]."""
        y: Floats = x @ self.weight.T
        y += self.bias
        return y


class Taps(Linear):
    """Linear map of each frame and its neighbours, zero-padded; how many follows from the
    weights."""

    def __call__(self, x: Floats, frames: slice = ALL_FRAMES) -> Floats:
        """[T, inputs] -> [T', outputs], these frames alone."""
        taps = self.weight.shape[1] // x.shape[1]
        if taps == 1:
            return super().__call__(x[frames])
        padded = np.zeros((len(x) + taps - 1, x.shape[1]))
        padded[taps // 2 : taps // 2 + len(x)] = x
        seen = [padded[i + frames.start : i + len(x) : frames.step] for i in range(taps)]
        return super().__call__(np.concatenate(seen, axis=1))


class LayerNorm:
    """Each frame with mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, state: State) -> None:
        self.weight, self.bias = state["weight"], state["bias"]

    def __call__(self, x: Floats) -> Floats:
        """[T, C] -> [T, C]."""
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        centred *= self.weight / np.sqrt(variance + 1e-5)
        centred += self.bias
        return centred


class Block:
    """Residual block: normalise, mix three frames into a wider layer, GELU, project back."""

    def __init__(self, state: State) -> None:
        self.norm, self.expand = LayerNorm(state.part("norm")), Taps(state.part("expand"))
        self.project = Linear(state.part("project"))

    def __call__(self, x: Floats) -> Floats:
        """[T, width] -> [T, width]."""
        return x + self.project(gelu(self.expand(self.norm(x))))


class LinearAttention:
    """Residual linear attention over all frames, both ways in time."""

    def __init__(self, state: State) -> None:
        self.norm = LayerNorm(state.part("norm"))
        self.qkv, self.out = Linear(state.part("qkv")), Linear(state.part("out"))

    def __call__(self, x: Floats) -> Floats:
        """[T, width] -> [T, width]."""
        q, k, v = heads(self.qkv(self.norm(x)))
        q, k = relu(q), relu(k)
        state = (k.swapaxes(-1, -2) / len(x)) @ v
        normaliser = (q * k.mean(axis=-2, keepdims=True)).sum(axis=-1, keepdims=True)
        attended = (q @ state) / (normaliser + 1e-3)
        return x + self.out(attended.swapaxes(0, 1).reshape(x.shape))


class Trunk:
    """Blocks and attention, one after the other: what has queries and keys is the latter."""

    def __init__(self, state: State) -> None:
        self.layers: list[Callable[[Floats], Floats]] = [
            LinearAttention(part) if "qkv" in part.names() else Block(part)
            for part in state.parts()
        ]

    def __call__(self, x: Floats) -> Floats:
        """[T, width] -> [T, width]."""
        for layer in self.layers:
            x = layer(x)
        return x


def relu(x: Floats) -> Floats:
    """max(x, 0)."""
    return np.maximum(x, 0)


def gelu(x: Floats) -> Floats:
    """x times the normal distribution function of x, by tanh (Hendrycks and Gimpel, 2016)."""
    inner = np.square(x)
    inner *= 0.044715
    inner += 1
    inner *= x
    inner *= np.sqrt(2 / np.pi)
    np.tanh(inner, out=inner)
    inner += 1
    inner *= x
    inner *= 0.5
    return inner


def heads(qkv: Floats) -> Floats:
    """Queries, keys and values side by side [T, 3 * width] -> [3, heads, T, width / heads]."""
    return qkv.reshape(len(qkv), 3, HEADS, -1).transpose(1, 2, 0, 3)


# ---------------------------------------------------------------------- fixed point


def fixed(x: Floats, low: float = -LIMIT, high: float = LIMIT) -> Floats:
    """x within [low, high], rounded to a multiple of `STEP`."""
    y: Floats = x * (1 / STEP)
    np.rint(y, out=y)
    y *= STEP
    return np.clip(y, low, high, out=y)


class FixedTaps(Taps):
    """`Taps` whose outputs are fixed-point, the same on every machine.

    Raises:
        ValueError: a weight is no multiple of `WEIGHT_STEP`, or a sum could pass 2^53 steps.
    """

    def __init__(self, state: State) -> None:
        super().__init__(state)
        check_grid(self.weight)
        check_grid(self.bias)
        # Inputs are fixed-point, or a symbol and its mean and refinement: below 2^17.
        largest = np.abs(self.weight).sum(axis=1) * 2.0**17 + np.abs(self.bias)
        if not (largest < 2.0**53 * STEP * WEIGHT_STEP).all():
            raise ValueError("weights of the entropy model are too large for exact sums")

    def __call__(self, x: Floats, frames: slice = ALL_FRAMES) -> Floats:
        """As of `Taps`."""
        return fixed(super().__call__(x, frames))


class FixedAttention:
    """Residual linear attention without normalisation of its input: means over time and the
    quotient are rounded to fixed point."""

    def __init__(self, state: State) -> None:
        self.qkv, self.out = FixedTaps(state.part("qkv")), FixedTaps(state.part("out"))

    def __call__(self, x: Floats) -> Floats:
        """[T, width] -> [T, width]."""
        q, k, v = heads(self.qkv(x))
        q, k = q.clip(0, ATTENTION_LIMIT), k.clip(0, ATTENTION_LIMIT)
        v = v.clip(-VALUE_LIMIT, VALUE_LIMIT)
        # Sums over time are exact; their division by the number of frames is rounded once.
        state = fixed((k.swapaxes(-1, -2) @ v) / len(x))
        key = fixed(k.sum(axis=-2, keepdims=True) / len(x))
        normaliser = (q * key).sum(axis=-1, keepdims=True) + STEP
        attended = fixed((q @ state) / normaliser)
        return fixed(x + self.out(attended.swapaxes(0, 1).reshape(x.shape)))


def fixed_table(state: State) -> Floats:
    """The vectors of all levels [levels, width], fixed-point. Raises ValueError as `FixedTaps`."""
    weight = state["weight"]
    check_grid(weight)
    return fixed(weight)


def check_grid(weight: Floats) -> None:
    """Raise ValueError unless all weights are multiples of `WEIGHT_STEP`."""
    if not np.array_equal(weight, np.rint(weight / WEIGHT_STEP) * WEIGHT_STEP):
        raise ValueError("weights of the entropy model are not fixed-point")
