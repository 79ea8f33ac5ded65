"""ECC behind the interface of the benchmark, and the Python API of a trained model."""

from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, cached_property
from itertools import count, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecc.codecs.base import Codec
from ecc.model.config import MAX_SKIP
from ecc.model.files import read_model
from ecc.model.rans import CodingError
from ecc.runtime.codec import load_coder
from ecc.runtime.entropy import EntropyCoder, Latent
from ecc.speech import SAMPLE_RATE
from ecc.stream import ID_BYTES, Header, StreamError, covered, note, pack_chunk, unpack_chunks

if TYPE_CHECKING:
    from ecc.model.entropy import EntropyModel


class EccCodec(Codec):
    """A trained ECC model: samples <-> the bytes of an `.ecc` file.

    Args:
        model: path of the model file.
        level: quality level to encode with, 0 the lowest rate; the highest if None.
        skip: entropy-skip threshold to encode with; the one the model was trained with if None.

    Raises:
        ModelError: the file is not a model.
        ValueError: the model has no such level, or no stream holds that threshold.
    """

    def __init__(
        self, model: str | Path, level: int | None = None, skip: int | None = None
    ) -> None:
        self.trained = read_model(model)
        self.codec = load_coder(self.trained)
        levels = self.codec.config.levels
        self.level = levels - 1 if level is None else level
        self.skip = self.codec.skip if skip is None else skip
        if not 0 <= self.level < levels:
            raise ValueError(f"{self.trained.name} has the levels 0 to {levels - 1}, not {level}")
        if not 0 <= self.skip <= MAX_SKIP:
            raise ValueError(f"a skip threshold is between 0 and {MAX_SKIP}, not {skip}")
        self.model_id = self.trained.digest[:ID_BYTES]
        self.version = f"{self.trained.name} {self.model_id.hex()}"

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        """float32 [T], 16 kHz mono -> the bytes of an `.ecc` file. Samples beyond ±1 are clipped.

        Raises:
            ValueError: the samples are not a finite one-dimensional array.
        """
        return b"".join(self.encode_chunks(samples))

    def encode_estimated(self, samples: NDArray[np.float32]) -> tuple[bytes, float]:
        """As of `Codec`; errors as of `encode`. Takes PyTorch, whose likelihoods estimate."""
        stream, bits = self._header(len(samples), self.level), 0.0
        for piece, latent in self._coded(_checked(samples), self.level, stream):
            stream += piece
            bits += self._estimated(latent)
        return stream, bits

    def encode_within(self, samples: NDArray[np.float32], kbps: float) -> bytes:
        """`encode` at the highest level at which the file takes no more than `kbps`, whatever
        `level` is.

        The rate rises with the level, so that about log2(levels) encodings find it.

        Raises:
            ValueError: even the lowest level takes more, or as of `encode`.
        """

        @cache
        def stream(level: int) -> bytes:
            return b"".join(self.encode_chunks(samples, level))

        def rate(level: int) -> float:
            return 8 * len(stream(level)) * SAMPLE_RATE / max(len(samples), 1) / 1000

        best = bisect_right(range(self.codec.config.levels), kbps, key=rate) - 1
        if best < 0:
            raise ValueError(f"even level 0 takes {rate(0):.3f} kbps, more than {kbps:g}")
        return stream(best)

    def encode_chunks(
        self, samples: NDArray[np.float32], level: int | None = None
    ) -> Iterator[bytes]:
        """The pieces of the file in order: the header, then each chunk as soon as it is coded.
        `level` stands in for that of the codec.

        Raises:
            ValueError: the samples are not a finite one-dimensional array.
        """
        level = self.level if level is None else level
        x = _checked(samples)
        header = self._header(len(x), level)
        yield header
        for piece, _ in self._coded(x, level, header):
            yield piece

    def _header(self, samples: int, level: int) -> bytes:
        return Header(self.model_id, samples, level, self.skip).pack()

    def _coded(
        self, x: NDArray[np.float32], level: int, header: bytes
    ) -> Iterator[tuple[bytes, Latent]]:
        """Each chunk as it lies in the file, and what it says."""
        places = (covered(header, number) for number in count())
        chunks = self.codec.compress_chunks(x, level, self.skip, places)
        for number, (payload, latent) in enumerate(chunks):
            yield pack_chunk(header, number, payload), latent

    def _estimated(self, latent: Latent) -> float:
        entropy = self.codec.entropy
        if not isinstance(entropy, EntropyCoder):
            return float(entropy.costs(latent, self.level)[1].sum())
        said = latent.z, latent.symbols, latent.indexes
        return self._likelihoods.likelihood_bits(*said, self.level, self.skip)

    @cached_property
    def _likelihoods(self) -> "EntropyModel":
        from ecc.model.entropy import EntropyModel
        from ecc.model.weights import load_networks

        entropy = load_networks(self.trained).entropy
        assert isinstance(entropy, EntropyModel)
        return entropy

    def decode(self, stream: bytes) -> NDArray[np.float32]:
        """The bytes of an `.ecc` file -> float32 [T], of exactly the length that was encoded.

        Raises:
            StreamError: the stream is damaged, or was made by another model.
        """
        return np.concatenate([np.zeros(0, np.float32), *self.decode_chunks(stream)])

    def decode_chunks(
        self, stream: bytes, damaged: list[str] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Samples of each chunk in turn, for signals that should not lie in memory whole.

        Args:
            stream: the bytes of an `.ecc` file.
            damaged: if given, a chunk that cannot be decoded is silent, the signal ends where the
                stream breaks off, and what is wrong is appended here, in place of an error.

        Raises:
            StreamError: the header is damaged, the stream was made by another model, a chunk
                cannot be decoded, or, if `damaged` is given, none can.
        """
        header, _ = Header.unpack(stream)
        latents = (
            None if latent is None else latent.y_hat for latent in self.latents(stream, damaged)
        )
        for x_hat in self.codec.synthesise_chunks(latents, header.samples, header.level):
            yield x_hat.clip(-1, 1).astype(np.float32)

    def latents(self, stream: bytes, damaged: list[str] | None = None) -> Iterator[Latent | None]:
        """What each chunk of an `.ecc` file says; arguments and errors as of `decode_chunks`."""
        header, at = Header.unpack(stream)
        if header.model_id != self.model_id:
            raise StreamError(
                f"made by model {header.model_id.hex()}; "
                f"this is {self.trained.name} ({self.model_id.hex()})"
            )
        if header.sample_rate != SAMPLE_RATE:
            raise StreamError(f"holds {header.sample_rate} Hz; the model works at {SAMPLE_RATE} Hz")
        if header.level >= self.codec.config.levels:
            raise StreamError(f"names level {header.level}, which {self.trained.name} has not")
        chunks = self.codec.count_chunks(header.samples)
        # All lengths and checksums first: that takes no time, and decoding does.
        payloads = unpack_chunks(stream, at, chunks, damaged)
        held: int | None = 0  # damaged chunks before the first whole one; None behind it
        layout = self.codec.chunks(header.samples)
        for number, (payload, frames) in enumerate(zip(payloads, layout, strict=False)):
            latent = None
            if payload is not None:
                place = covered(stream[:at], number)
                try:
                    latent = self.codec.decompress(
                        payload, frames, header.level, header.skip, place
                    )
                except CodingError as error:
                    note(StreamError(f"chunk {number + 1} of {chunks}: {error}"), damaged)
            if held is not None:
                # Nothing vouches for the header, and for so much silence, before a whole chunk.
                if latent is None:
                    held += 1
                    continue
                yield from repeat(None, held)
                held = None
            yield latent
        if chunks and held is not None:
            raise StreamError("no chunk of it can be decoded")


def _checked(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(f"expected mono samples [T], got an array of shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("the samples hold NaN or infinite values")
    return samples.clip(-1, 1)
