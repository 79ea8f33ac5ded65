"""The entropy model of `ecc.model.entropy` in NumPy: latents of one sequence <-> streams.

Everything from z_hat to y_hat is exact (`ecc.model.exact` says how), so that every machine decodes
what every machine encodes.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecc.model import rans
from ecc.model.config import SCALES, EntropyConfig
from ecc.model.fixed_point import STEP
from ecc.model.walk import ALL_FRAMES, INDEX_GAIN, UNIT_INDEX, Array, SliceWalk, frame_groups
from ecc.runtime.layers import (
    FixedAttention,
    FixedTaps,
    Floats,
    Linear,
    State,
    fixed,
    fixed_table,
    relu,
)

Integers = NDArray[np.int32]


@dataclass(frozen=True)
class Latent:
    """What a stream says: T frames of y in C channels and the z that goes with them."""

    y_hat: Floats  # [T, C], multiples of `fixed_point.STEP`
    z: Integers  # symbols [T / z_stride, z_channels]; no channels without hyperprior
    symbols: Integers  # residuals of y [T, C]; 0 where they were skipped
    indexes: Integers  # scale index of each [T, C]
    bits: Floats | None = None  # of each token, where those are the symbols

    def check(self, covered: bytes = b"") -> int:
        """A hash of `covered` and y_hat, of `rans.CHECK_BITS` bits."""
        steps = (self.y_hat / STEP).astype("<i4")
        return zlib.crc32(steps.tobytes(), zlib.crc32(covered)) & ((1 << rans.CHECK_BITS) - 1)


class SymbolCoder:
    """Encodes or decodes the symbols of each step of the walk, and keeps them."""

    def __init__(self, stream: rans.Encoder | rans.Decoder, tables: rans.Tables, skip: int) -> None:
        self.stream, self.tables, self.skip = stream, tables, skip
        self.symbols: list[Integers] = []  # one [T', C] for each step of the walk
        self.indexes: list[Integers] = []

    def __call__(self, residual: Floats | None, index: Floats) -> Floats:
        """As of `walk.ResidualCoder`."""
        indexes = np.rint(index).astype(np.int32)
        coded = indexes >= self.skip
        symbols = np.zeros_like(indexes)
        if isinstance(self.stream, rans.Decoder):
            symbols[coded] = self.stream.pull(indexes[coded], self.tables)
        else:
            assert residual is not None
            symbols[coded] = to_symbols(residual)[coded]
            self.stream.push(symbols[coded], indexes[coded], self.tables)
        self.symbols.append(symbols)
        self.indexes.append(indexes)
        return symbols.astype(np.float64)


class Predictor:
    """Three layers, the first of which sees frames on either side."""

    def __init__(self, state: State) -> None:
        self.first, self.second, self.last = (FixedTaps(part) for part in state.parts())

    def __call__(self, x: Floats, frames: slice = ALL_FRAMES) -> Floats:
        """[T, inputs] -> [T', outputs], these frames alone."""
        return self.last(relu(self.second(relu(self.first(x, frames)))))


class EntropyCoder(SliceWalk):
    """Codes a latent y [T, channels]; T is a multiple of `z_stride`.

    Args:
        config: sizes and switches.
        channels: of y.
        state: the arrays of the entropy model.

    Raises:
        ValueError: the weights are not such that all is exact.
    """

    def __init__(self, config: EntropyConfig, channels: int, state: State) -> None:
        self.config, self.channels = config, channels
        self.stride, self.skip = config.z_stride, config.skip
        self.groups = frame_groups(len(config.taps))
        self.psi_level = fixed_table(state.part("psi_level"))
        self.parameter_nets = [Predictor(part) for part in state.part("parameter_nets").parts()]
        self.lrp_nets = [Predictor(part) for part in state.part("lrp_nets").parts()]
        self.y_tables = coding_tables(state.part("gaussian"))
        self.z_tables: rans.Tables | None = None
        if config.hyperprior:
            self.h_a = [Linear(part) for part in state.part("h_a").parts()]
            self.z_gain = state["z_gain.weight"]
            self.z_level = fixed_table(state.part("z_level"))
            self.h_s_in = FixedTaps(state.part("h_s_in"))
            *attention, last = state.part("h_s").parts()
            self.h_s: list[Callable[[Floats], Floats]] = [FixedAttention(a) for a in attention]
            self.h_s.append(FixedTaps(last))
            # CompressAI codes z less its median; these tables hold z itself.
            bottleneck = state.part("bottleneck")
            medians = bottleneck["quantiles"][:, 0, 1].astype(np.int32)
            self.z_tables = coding_tables(bottleneck, medians)

    # ------------------------------------------------------------------ of the walk

    def join(self, parts: Sequence[Array]) -> Array:
        """As of `Walk`."""
        return np.concatenate(parts, axis=-1)

    def fixed(self, x: Array) -> Array:
        """As of `Walk`."""
        return fixed(x)

    def to_index(self, x: Array) -> Array:
        """As of `SliceWalk`."""
        return (INDEX_GAIN * x + UNIT_INDEX).clip(0, SCALES - 1)

    def to_lrp(self, x: Array) -> Array:
        """As of `SliceWalk`."""
        return fixed(0.5 * x.clip(-1, 1))

    # ------------------------------------------------------------------ encode and decode

    def compress(
        self, y: Floats, level: int, skip: int, covered: bytes = b""
    ) -> tuple[bytes, Latent]:
        """Code one latent y [T, channels] -> the stream, and what it says.

        The check in the stream covers the bytes `covered` too, which the decoder must be given.
        """
        encoder, z = rans.Encoder(), np.zeros((0, 0), np.int32)
        if self.z_tables is not None:
            z = to_symbols(self._z(y, level))
            encoder.push(z.ravel(), self._z_indexes(len(z), level), self.z_tables)
        latent = self._code(y, z, len(y), level, SymbolCoder(encoder, self.y_tables, skip))
        return encoder.finish(latent.check(covered)), latent

    def decompress(
        self, stream: bytes, frames: int, level: int, skip: int, covered: bytes = b""
    ) -> Latent:
        """Decode what `compress` wrote.

        Raises:
            rans.CodingError: the stream does not decode to what was encoded, or `covered` differs.
        """
        decoder, z = rans.Decoder(stream), np.zeros((0, 0), np.int32)
        if self.z_tables is not None:
            rows = frames // self.config.z_stride
            z = decoder.pull(self._z_indexes(rows, level), self.z_tables).reshape(rows, -1)
        latent = self._code(None, z, frames, level, SymbolCoder(decoder, self.y_tables, skip))
        decoder.verify(latent.check(covered))
        return latent

    def part_names(self, level: int) -> list[str]:
        """What equal parts of the symbols of a `Latent` are, from left to right."""
        return [f"slice {number}" for number in range(1, self.config.slices + 1)]

    def costs(self, latent: Latent, level: int) -> tuple[Floats, Floats]:
        """Bits of each symbol of z and of y, in their shapes, under the tables that code them;
        of a skipped one what it would cost."""
        z = np.zeros(latent.z.shape)
        if self.z_tables is not None:
            indexes = self._z_indexes(len(latent.z), level)
            z = self.z_tables.bits(latent.z.ravel(), indexes).reshape(latent.z.shape)
        y = self.y_tables.bits(latent.symbols.ravel(), latent.indexes.ravel())
        return z, y.reshape(latent.symbols.shape)

    # ------------------------------------------------------------------ parts

    def _z(self, y: Floats, level: int) -> Floats:
        inner, outer = self.h_a
        stacked = y.reshape(len(y) // self.config.z_stride, -1)
        return outer(relu(inner(stacked))) * np.exp(self.z_gain[level])

    def _psi(self, z: Integers, frames: int, level: int) -> Floats:
        psi = self.psi_level[level]
        if self.z_tables is None:
            return np.broadcast_to(psi, (frames, len(psi)))
        hidden = relu(self.h_s_in(z.astype(np.float64)) + self.z_level[level])
        for layer in self.h_s:
            hidden = layer(hidden)
        return psi + hidden.reshape(frames, -1)

    def _code(
        self, y: Floats | None, z: Integers, frames: int, level: int, coder: SymbolCoder
    ) -> Latent:
        blank = np.zeros((frames, self.channels))
        y_hat = self.walk(self._psi(z, frames, level), blank, y, coder)
        return Latent(y_hat, z, self.join_steps(coder.symbols), self.join_steps(coder.indexes))

    def _z_indexes(self, rows: int, level: int) -> Integers:
        channels = self.config.z_channels
        return np.tile(np.arange(channels, dtype=np.int32) + level * channels, rows)


def to_symbols(values: Floats) -> Integers:
    """Values to the nearest symbol that can be coded."""
    limit = rans.SYMBOL_LIMIT
    return np.rint(values).clip(-limit, limit - 1).astype(np.int32)


def coding_tables(state: State, shift: Integers | int = 0) -> rans.Tables:
    """The tables that CompressAI built after training, which are part of the model file."""
    cdfs, lengths, offsets = (
        state.raw(name).astype(np.int32) for name in ("_quantized_cdf", "_cdf_length", "_offset")
    )
    return rans.Tables(cdfs, lengths, offsets + shift)
