"""A trained model in NumPy: samples <-> the streams of chunks. It learns nothing, and needs no
PyTorch."""

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecc.model.config import CHUNK_FRAMES, CONTEXT_FRAMES
from ecc.model.files import ModelError, ModelFile, ModelUnavailableError
from ecc.runtime.entropy import EntropyCoder, Latent
from ecc.runtime.layers import Floats, State
from ecc.runtime.rvq import TokenEntropyCoder
from ecc.runtime.transform import Transform


class AnyTransform(Protocol):
    """Both directions of a transform: samples <-> latent, of one signal at one level."""

    samples_per_frame: int

    def analyse(self, x: Floats, level: int) -> Floats:
        """Samples [T * samples_per_frame] -> y [T, channels]."""

    def synthesise(self, y_hat: Floats, level: int) -> Floats:
        """y_hat [T, channels] -> samples [T * samples_per_frame]."""


class Coder:
    """Codes speech, 16 kHz mono, in chunks.

    Args:
        model: what a model file holds.
        transform: around the latent; if None, the one that the file holds.

    Raises:
        ModelError: one line that says what is wrong with the file.
    """

    def __init__(self, model: ModelFile, transform: AnyTransform | None = None) -> None:
        self.config, state = model.config, State(model.arrays)
        self.entropy: EntropyCoder | TokenEntropyCoder
        try:
            entropy, config = state.part("entropy"), model.config
            if config.rvq.stages:
                self.entropy = TokenEntropyCoder(config.rvq, entropy)
            else:
                self.entropy = EntropyCoder(config.entropy, config.transform.channels, entropy)
        except ValueError as error:
            raise ModelError(f"{model.path}: {error}") from None
        except KeyError as error:
            raise ModelError(f"{model.path}: holds no array {error}") from None
        self.transform = transform or Transform(config.transform, state.part("transform"))
        self.stride, self.skip = self.entropy.stride, self.entropy.skip
        # Samples are padded to whole frames of z.
        self.granule = self.transform.samples_per_frame * self.stride

    def count_chunks(self, samples: int) -> int:
        """Chunks of a signal of `samples` samples."""
        return -(-samples // (CHUNK_FRAMES * self.transform.samples_per_frame))

    def chunks(self, samples: int) -> Iterator[int]:
        """Latent frames of each chunk of a signal of `samples` samples: both sides derive the
        layout from the length alone."""
        frames = -(-samples // self.granule) * self.stride
        for at in range(0, frames, CHUNK_FRAMES):
            yield min(CHUNK_FRAMES, frames - at)

    def analyse_chunks(self, x: NDArray[np.float32], level: int) -> Iterator[Floats]:
        """y [T, channels] of each chunk of the samples x [T], in order."""
        step, start = self.transform.samples_per_frame, 0
        for frames in self.chunks(len(x)):
            first = max(0, start - CONTEXT_FRAMES)
            last = start + frames + CONTEXT_FRAMES
            part = x[first * step : last * step].astype(np.float64)
            # Zeros stand for what lies beyond the end; whole frames are dropped again below.
            needed = max(start + frames, -(-len(part) // step) + first) - first
            y = self.transform.analyse(np.pad(part, (0, needed * step - len(part))), level)
            yield y[start - first : start - first + frames]
            start += frames

    def compress_chunks(
        self,
        x: NDArray[np.float32],
        level: int,
        skip: int,
        covered: Iterable[bytes] | None = None,
    ) -> Iterator[tuple[bytes, Latent]]:
        """The stream of each chunk of the samples x [T], and what it says. The check in each
        covers the next of `covered` too."""
        for y, own in zip(self.analyse_chunks(x, level), covered or repeat(b""), strict=False):
            yield self.entropy.compress(y, level, skip, own)

    def synthesise_chunks(
        self, latents: Iterable[Floats | None], samples: int, level: int
    ) -> Iterator[Floats]:
        """Samples of each chunk in order, [T_i]; those of all chunks are exactly `samples`.

        Each chunk is synthesised with `CONTEXT_FRAMES` latent frames of its neighbours, so that
        at most three chunks are held at a time. A chunk that is None is silent.

        Args:
            latents: y_hat [T_i, channels] of each chunk of a signal of `samples` samples.
            samples: length of the signal.
            level: the level at which it was coded.
        """
        step, left = self.transform.samples_per_frame, samples
        none = np.zeros((0, self.config.transform.channels))
        layout, remaining, end = self.chunks(samples), iter(latents), object()
        before, current = none, next(remaining, end)
        while current is not end:
            after = next(remaining, end)
            x_hat = np.zeros(next(layout) * step)
            if isinstance(current, np.ndarray):
                head = before[-CONTEXT_FRAMES:]
                tail = after[:CONTEXT_FRAMES] if isinstance(after, np.ndarray) else none
                y_hat = np.concatenate([head, current, tail])
                x_hat = self.transform.synthesise(y_hat, level)
                x_hat = x_hat[len(head) * step :][: len(current) * step]
            yield x_hat[:left]
            left -= len(x_hat)
            before = current if isinstance(current, np.ndarray) else none
            current = after

    def decompress(
        self, stream: bytes, frames: int, level: int, skip: int, covered: bytes = b""
    ) -> Latent:
        """What the stream of a chunk of `frames` latent frames says.

        Raises:
            rans.CodingError: it does not decode to what was encoded, or `covered` differs.
        """
        return self.entropy.decompress(stream, frames, level, skip, covered)


def load_coder(model: ModelFile) -> Coder:
    """The coder of a model file. A model around Lyra's latent takes the study's packages: its
    transform runs on PyTorch.

    Raises:
        ModelError: one line that says what is wrong with the file.
        ModelUnavailableError: one line that says what else it takes.
    """
    if model.config.transform.kind != "lyra":
        return Coder(model)
    try:
        from ecc.runtime.lyra import LyraTransform
    except ModuleNotFoundError as error:
        raise ModelUnavailableError(
            f"{model.path}: stands on the networks of Lyra, which take {error.name}; "
            "pip install 'ecc-speech[study]' has it"
        ) from None
    transform = LyraTransform(model)
    return Coder(transform.model, transform)
