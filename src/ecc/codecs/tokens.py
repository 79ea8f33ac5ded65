"""Codecs whose stream is tokens, the entries of code books that a neural codec chose: what turns
them into bytes and back, whatever the network."""

import math
import struct
from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from ecc.audio import resample
from ecc.codecs.base import Codec, pad_to_frames
from ecc.speech import SAMPLE_RATE

HEADER = struct.Struct("<I")  # samples at 16 kHz

Tokens = npt.NDArray[np.int64]


class TokenCodec(Codec):
    """A codec that makes the same number of tokens of every frame, each of the same number of bits.

    Its stream is the number of samples (32 bits, little-endian) and the tokens, packed by
    `pack_tokens`; all of it counts. The number of frames follows from that of samples, so that a
    stream that was cut is told from a whole one. What is decoded has as many samples as went in.
    """

    sample_rate: int
    """Hz, of the samples that the network works on."""
    hop: int
    """Such samples in a frame."""
    codebooks: int
    """Tokens of a frame."""
    token_bits: int
    """Bits of a token."""

    @abstractmethod
    def tokens(self, samples: npt.NDArray[np.float32]) -> Tokens:
        """Samples [frames * hop] at `sample_rate` -> tokens [codebooks, frames]."""

    @abstractmethod
    def samples(self, tokens: Tokens) -> npt.NDArray[np.float32]:
        """Tokens [codebooks, frames] -> about frames * hop samples at `sample_rate`."""

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        """As of `Codec`; RuntimeError if the network makes other tokens than it should."""
        heard = resample(np.asarray(samples, dtype=np.float32), SAMPLE_RATE, self.sample_rate)
        frames = pad_to_frames(heard, self.hop, 0)
        tokens = self.tokens(frames.reshape(-1))
        if tokens.shape != (expected := (self.codebooks, len(frames))):
            raise RuntimeError(f"the network made tokens {tokens.shape}, not {expected}")
        return HEADER.pack(len(samples)) + pack_tokens(tokens, self.token_bits)

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        """As of `Codec`, as many samples as were encoded; ValueError for a stream that was cut."""
        if len(stream) < HEADER.size:
            raise ValueError("truncated stream: it ends inside the header")
        (count,) = HEADER.unpack_from(stream)
        frames = math.ceil(math.ceil(count * self.sample_rate / SAMPLE_RATE) / self.hop)
        shape = self.codebooks, frames
        tokens = unpack_tokens(stream[HEADER.size :], self.token_bits, shape)
        decoded = resample(self.samples(tokens), self.sample_rate, SAMPLE_RATE)[:count]
        return np.pad(decoded, (0, count - len(decoded)))


def pack_tokens(tokens: Tokens, bits: int) -> bytes:
    """Tokens [codebooks, frames], frame by frame, each from its highest bit to its lowest, and
    zeros up to a whole byte; ValueError for a token that `bits` bits do not hold."""
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < 1 << bits:
        raise ValueError(f"tokens of {bits} bits cannot be {tokens.min()} to {tokens.max()}")
    places = np.arange(bits - 1, -1, -1)
    return np.packbits((tokens.T[..., None] >> places & 1).astype(np.uint8)).tobytes()


def unpack_tokens(data: bytes, bits: int, shape: tuple[int, int]) -> Tokens:
    """The inverse of `pack_tokens`, for tokens of the shape [codebooks, frames]; ValueError where
    there are more bytes than these take, or fewer."""
    codebooks, frames = shape
    if len(data) != (needed := -(-codebooks * frames * bits // 8)):
        found = "truncated stream" if len(data) < needed else "stream too long"
        raise ValueError(f"{found}: {needed} bytes of tokens, and {len(data)} are there")
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8), count=codebooks * frames * bits)
    places = np.arange(bits - 1, -1, -1)
    return (unpacked.reshape(frames, codebooks, bits).astype(np.int64) << places).sum(axis=-1).T
