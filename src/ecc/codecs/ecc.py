"""ECC behind the interface of the benchmark, and the Python API of a trained model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ecc.codecs.base import Codec
from ecc.model.weights import load_model
from ecc.stream import Stream, StreamError


class EccCodec(Codec):
    """A trained ECC model: samples <-> the bytes of an `.ecc` file.

    Args:
        model: path of the model file.
        skip: entropy-skip threshold to encode with; the one the model was trained with if None.

    Raises:
        ModelError: the file is not a model.
    """

    def __init__(self, model: str | Path, skip: int | None = None) -> None:
        self.trained = load_model(model)
        self.codec = self.trained.codec
        self.skip = self.codec.config.entropy.skip if skip is None else skip
        self.model_id = self.trained.digest[:4]
        self.version = f"{self.trained.name} {self.model_id.hex()}"

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        """float32 [T], 16 kHz mono -> the bytes of an `.ecc` file.

        Raises:
            ValueError: the samples are not a finite one-dimensional array.
        """
        x = _checked(samples)
        chunks = list(self.codec.compress_chunks(x, self.skip))
        return Stream(self.model_id, len(x), self.skip, chunks).pack()

    def decode(self, stream: bytes) -> NDArray[np.float32]:
        """The bytes of an `.ecc` file -> float32 [T], of exactly the length that was encoded.

        Raises:
            StreamError: the stream is damaged, or was made by another model.
        """
        parts = list(self.decode_chunks(Stream.unpack(stream)))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def decode_chunks(self, stream: Stream) -> Iterator[NDArray[np.float32]]:
        """Samples of each chunk in turn, for signals that should not lie in memory whole."""
        if stream.model_id != self.model_id:
            raise StreamError(
                f"made by model {stream.model_id.hex()}; "
                f"this is {self.trained.name} ({self.model_id.hex()})"
            )
        due = len(self.codec.chunks(stream.samples))
        if len(stream.chunks) != due:
            raise StreamError(f"truncated: {len(stream.chunks)} of {due} chunks")
        for x_hat in self.codec.decompress_chunks(stream.chunks, stream.samples, stream.skip):
            yield x_hat.clamp(-1, 1).numpy()

    def estimated_bits(self, samples: NDArray[np.float32]) -> float:
        """-log2 of the likelihood of the symbols of these samples."""
        return self.codec.estimated_bits(_checked(samples))


def _checked(samples: NDArray[np.float32]) -> torch.Tensor:
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(f"expected mono samples [T], got an array of shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError("the samples hold NaN or infinite values")
    return torch.from_numpy(samples)
