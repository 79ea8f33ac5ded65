"""Residual vector quantization (`ecc.model.rvq`) in NumPy: latents of one sequence <-> streams."""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ecc.model import rans
from ecc.model.config import RvqConfig
from ecc.model.fixed_point import HIDDEN_LIMIT, odds
from ecc.model.walk import Array, TokenWalk
from ecc.runtime.entropy import Integers, Latent
from ecc.runtime.layers import FixedTaps, Floats, State, fixed, fixed_table, relu


class TokenModel:
    """The probabilities of tokens, given those of the stages before and of the frames around."""

    def __init__(self, state: State, taps: int) -> None:
        self.taps = taps
        self.window, self.inner = FixedTaps(state.part("window")), FixedTaps(state.part("inner"))
        self.stage, self.level = fixed_table(state.part("stage")), fixed_table(state.part("level"))
        self.heads = [FixedTaps(part) for part in state.part("heads").parts()]
        self.bias = fixed_table(state.part("bias"))

    def __call__(
        self, stage: int, level: int, seen: Floats, frames: slice, codebook: Floats
    ) -> Floats:
        """The logarithm to base 2 of the odds of each entry, [N, entries]; arguments as of
        `ecc.model.rvq.TokenModel`."""
        padded = np.pad(seen, ((self.taps // 2, self.taps // 2), (0, 0)))
        window = sliding_window_view(padded, self.taps, axis=0)[frames].swapaxes(1, 2)
        hidden = self.window(window.reshape(len(window), -1))
        hidden = relu(fixed(hidden + self.stage[stage] + self.level[level]))
        hidden = self.heads[stage](relu(self.inner(hidden))).clip(-HIDDEN_LIMIT, HIDDEN_LIMIT)
        # With its own length beside each entry, odds fall with the distance from any point.
        length = fixed(np.square(codebook).mean(axis=-1, keepdims=True))
        return fixed(hidden @ np.hstack([codebook, length]).T + self.bias[stage])


class Coder:
    """Encodes or decodes the tokens of each group of frames, and keeps them and what they cost."""

    def __init__(self, stream: rans.Encoder | rans.Decoder, config: RvqConfig) -> None:
        self.stream, self.token_bits = stream, config.bits
        self.tokens: list[Integers] = []
        self.bits: list[Floats] = []

    def __call__(self, tokens: Integers | None, log_odds: Floats) -> Integers:
        """As of `walk.TokenCoder`."""
        each = odds(log_odds) if log_odds.shape[1] else None
        if isinstance(self.stream, rans.Decoder):
            if each is not None:
                tokens = self.stream.pull_each(each)
            else:
                tokens = self.stream.pull_uniform(len(log_odds), 1 << self.token_bits)
        else:
            assert tokens is not None
            if each is not None:
                self.stream.push_each(tokens, each)
            else:
                self.stream.push_uniform(tokens, 1 << self.token_bits)
        bits = np.full(len(tokens), float(self.token_bits))
        if each is not None:
            own = np.take_along_axis(each, tokens[:, None], axis=1)[:, 0]
            bits = np.log2(each.sum(axis=1) / np.maximum(own, 1))  # no entry is without odds
        self.tokens.append(tokens)
        self.bits.append(bits)
        return tokens


class TokenEntropyCoder(TokenWalk):
    """Codes a latent y [T, channels] by the code books of the stages of a level; the interface is
    that of `EntropyCoder`.

    Args:
        config: sizes, and the stages that each level uses.
        state: the arrays of the quantizer.

    Raises:
        ValueError: the weights are not such that all is exact.
    """

    stride, skip = 1, 0  # frames of z in one of y: none are joined; nothing is skipped

    def __init__(self, config: RvqConfig, state: State) -> None:
        self.config = config
        self.codebooks = state["codebooks"]
        self.tokens = None
        if config.tokens is not None:
            self.tokens = TokenModel(state.part("tokens"), config.tokens.taps)

    def join(self, parts: Sequence[Array]) -> Array:
        """As of `Walk`."""
        return np.concatenate(parts, axis=-1)

    def fixed(self, x: Array) -> Array:
        """As of `Walk`."""
        return fixed(x)

    def quantize(self, y: Floats, level: int) -> Integers:
        """y [T, channels] -> the tokens of the level, [T, stages]."""
        left, tokens = y, []
        for codebook in self.codebooks[: self.config.stages[level]]:
            distances = np.square(codebook).sum(axis=1) - 2 * left @ codebook.T
            tokens.append(distances.argmin(axis=1))
            left = left - fixed(codebook[tokens[-1]])
        return np.stack(tokens, axis=1).astype(np.int32)

    def compress(
        self, y: Floats, level: int, skip: int, covered: bytes = b""
    ) -> tuple[bytes, Latent]:
        """As of `EntropyCoder`; there is nothing to skip."""
        encoder = rans.Encoder()
        latent = self._code(self.quantize(y, level), len(y), level, encoder)
        return encoder.finish(latent.check(covered)), latent

    def decompress(
        self, stream: bytes, frames: int, level: int, skip: int, covered: bytes = b""
    ) -> Latent:
        """As of `EntropyCoder`.

        Raises:
            rans.CodingError: the stream does not decode to what was encoded, or `covered` differs.
        """
        decoder = rans.Decoder(stream)
        latent = self._code(None, frames, level, decoder)
        decoder.verify(latent.check(covered))
        return latent

    def part_names(self, level: int) -> list[str]:
        """What the columns of the symbols of a `Latent` are, from left to right."""
        return [f"stage {number}" for number in range(1, self.config.stages[level] + 1)]

    def costs(self, latent: Latent, level: int) -> tuple[Floats, Floats]:
        """As of `EntropyCoder`: nothing for z, and the bits of each token [T, stages], by the odds
        that code it."""
        assert latent.bits is not None
        return np.zeros((0, 0)), latent.bits

    def _code(
        self, tokens: Integers | None, frames: int, level: int, stream: rans.Encoder | rans.Decoder
    ) -> Latent:
        coder, blank = Coder(stream, self.config), np.zeros((frames, self.codebooks.shape[-1]))
        y_hat = self.walk(level, self.config.stages[level], blank, tokens, coder)
        symbols, bits = (self.join_groups(each, frames) for each in (coder.tokens, coder.bits))
        return Latent(y_hat, np.zeros((0, 0), np.int32), symbols, np.zeros_like(symbols), bits)
