"""Entropy coding of integer symbols: tables from CompressAI, an ANS coder from constriction.

An ANS coder is a stack: symbols are decoded in the reverse of the order in which they were
encoded (Duda, "Asymmetric numeral systems", 2013). The encoder therefore gathers all symbols of a
stream, in the order of the decoder, and encodes them when it is asked for the bytes. What lies at
the bottom of the stack comes out last; an encoder has to put about 24 bits there or waste them,
and ours puts a check of what was coded there (`docs/format.md`).
"""

from collections.abc import Iterator

import constriction
import numpy as np
from numpy.typing import NDArray

# Symbols that a table does not hold are sent as they are, in 16 bits.
SYMBOL_LIMIT = 2**15
CHECK_BITS = 23

_AnsCoder = constriction.stream.stack.AnsCoder
_Uniform = constriction.stream.model.Uniform
_each = constriction.stream.model.Categorical(perfect=False)

Symbols = NDArray[np.int32]


class CodingError(ValueError):
    """Bytes that the encoder cannot have written."""


class Tables:
    """Probability tables of one kind of symbol, each with an escape as its last entry.

    Args:
        cdfs: [tables, entries], cumulative frequencies in 2^-16, as CompressAI builds them.
        lengths: [tables], entries that count in each.
        offsets: [tables], the symbol that the first entry stands for.
    """

    def __init__(self, cdfs: Symbols, lengths: Symbols, offsets: Symbols) -> None:
        self.offsets = offsets
        self.escapes = lengths - 2
        self.frequencies = [
            np.diff(cdf[:n]) / 2.0**16 for cdf, n in zip(cdfs, lengths, strict=True)
        ]
        categorical = constriction.stream.model.Categorical
        self.models = [categorical(f, perfect=False) for f in self.frequencies]

    def bits(self, symbols: Symbols, indexes: Symbols) -> NDArray[np.float64]:
        """What each symbol [N] costs under the table [N] that codes it."""
        bits = np.zeros(len(symbols))
        for table, positions in _by_table(indexes):
            entries, escaped = self._entries(symbols[positions], table)
            bits[positions] = -np.log2(self.frequencies[table][entries]) + 16 * escaped
        return bits

    def _entries(self, symbols: Symbols, table: int) -> tuple[Symbols, NDArray[np.bool_]]:
        entries = symbols - self.offsets[table]
        escape = self.escapes[table]
        escaped = (entries < 0) | (entries >= escape)
        return np.where(escaped, escape, entries).astype(np.int32), escaped


class Encoder:
    """Gathers symbols in the order of the decoder."""

    def __init__(self) -> None:
        self._gathered: list[tuple[object, ...]] = []  # symbols, their model, its parameters

    def push(self, symbols: Symbols, indexes: Symbols, tables: Tables) -> None:
        """Add symbols [N], within ±`SYMBOL_LIMIT`, each coded with the table of its index."""
        raw = np.zeros(len(symbols), bool)
        for table, positions in _by_table(indexes):
            entries, raw[positions] = tables._entries(symbols[positions], table)
            self._gathered.append((entries, tables.models[table]))
        if raw.any():
            self.push_uniform(symbols[raw] + SYMBOL_LIMIT, 2 * SYMBOL_LIMIT)

    def push_uniform(self, symbols: Symbols, size: int) -> None:
        """Add symbols [N], each any of 0 to `size` - 1 with the same probability."""
        self._gathered.append((symbols, _Uniform(size)))

    def push_each(self, symbols: Symbols, odds: NDArray[np.float64]) -> None:
        """Add symbols [N], each with odds of its own, [N, size]: integers, so that their sums
        are the same everywhere."""
        self._gathered.append((symbols, _each, odds))

    def finish(self, check: int) -> bytes:
        """The stream of all symbols, with a check of `CHECK_BITS` bits at its bottom."""
        ans = _AnsCoder(np.array([1 << CHECK_BITS | check], np.uint32))
        for symbols, *model in reversed(self._gathered):
            ans.encode_reverse(symbols, *model)
        # The last word is not 0; its leading zero bytes need not be sent.
        stream: bytes = ans.get_compressed().astype("<u4").tobytes()
        return stream.rstrip(b"\0")


class Decoder:
    """Takes symbols from a stream that `Encoder` wrote. Any bytes are safe to decode.

    Raises:
        CodingError: the bytes are not in the form in which streams are written.
    """

    def __init__(self, stream: bytes) -> None:
        if not stream or stream[-1] == 0:
            raise CodingError("not an entropy-coded stream")
        words = np.frombuffer(stream + bytes(-len(stream) % 4), "<u4")
        self._ans = _AnsCoder(words.astype(np.uint32))

    def pull(self, indexes: Symbols, tables: Tables) -> Symbols:
        """The next symbols [N], given the index of the table of each."""
        symbols = np.zeros(len(indexes), np.int32)
        raw = np.zeros(len(indexes), bool)
        for table, positions in _by_table(indexes):
            entries = self._ans.decode(tables.models[table], len(positions))
            raw[positions] = entries == tables.escapes[table]
            symbols[positions] = entries + tables.offsets[table]
        if raw.any():
            symbols[raw] = self.pull_uniform(int(raw.sum()), 2 * SYMBOL_LIMIT) - SYMBOL_LIMIT
        return symbols

    def pull_uniform(self, count: int, size: int) -> Symbols:
        """The next `count` symbols that `push_uniform` added."""
        symbols: Symbols = self._ans.decode(_Uniform(size), count)
        return symbols

    def pull_each(self, odds: NDArray[np.float64]) -> Symbols:
        """The next symbols [N] that `push_each` added with these odds [N, size]."""
        symbols: Symbols = self._ans.decode(_each, odds)
        return symbols

    def finish(self) -> int:
        """The check at the bottom of the stream.

        Raises:
            CodingError: what is left is not a check: other symbols were encoded.
        """
        left = self._ans.get_compressed()
        if len(left) != 1 or left[0] >> CHECK_BITS != 1:
            raise CodingError("the symbols do not end where the stream does")
        return int(left[0]) & ((1 << CHECK_BITS) - 1)

    def verify(self, check: int) -> None:
        """`finish`, where the stream is to end in this `check`.

        Raises:
            CodingError: it ends in another, or in none: other symbols were encoded.
        """
        if self.finish() != check:
            raise CodingError("decodes to other symbols than were encoded")


def _by_table(indexes: Symbols) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each table that occurs, ascending, with the positions of its symbols, ascending."""
    order = np.argsort(indexes, kind="stable")
    tables, starts = np.unique(indexes[order], return_index=True)
    for table, positions in zip(tables, np.split(order, starts)[1:], strict=True):
        yield int(table), positions
