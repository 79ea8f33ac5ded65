"""ECC: the transform and the entropy model together, for training and for coding.

x --transform.analyse--> y --entropy--> y_hat --transform.synthesise--> x_hat
                               |
                              bits

In the peer that ECC is compared with, residual vector quantization takes the place of the entropy
model; all else is the same code.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecc.model import exact
from ecc.model.config import CHUNK_FRAMES, CodecConfig
from ecc.model.entropy import EntropyModel, Latent
from ecc.model.layers import LevelTable
from ecc.model.lyra_transform import LyraTransform
from ecc.model.rvq import ResidualVectorQuantizer
from ecc.model.transform import Transform
from ecc.speech import SAMPLE_RATE

# Latent frames on either side of a chunk that the transform sees too, so that chunks join without
# a seam. Part of the stream format, as the length of a chunk is.
CONTEXT_FRAMES = 16


class ECC(nn.Module):
    """The entropy-constrained speech codec, 16 kHz mono.

    `forward` estimates the rate and reconstructs, for training. `compress_chunks` and
    `decompress` go through real streams, once `update` has made the weights of the entropy model
    fixed-point and built the coding tables. One model serves `config.levels` rates; the
    level, 0 for the lowest, tells which.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.transform: Transform | LyraTransform
        if config.transform.kind == "lyra":
            self.transform = LyraTransform(config.transform, config.levels)
        else:
            self.transform = Transform(config.transform, config.levels)
        channels = config.transform.channels
        self.entropy: EntropyModel | ResidualVectorQuantizer
        if config.rvq.stages:
            given = None
            if config.rvq.codebooks == "lyra":
                assert isinstance(self.transform, LyraTransform)
                given = self.transform.codebooks()
            self.entropy = ResidualVectorQuantizer(config.rvq, channels, given)
            self.stride, self.skip = 1, 0
            # All levels share the code books, so y is the same at each: no level in g_a.
            for module in self.transform.g_a.modules():
                if isinstance(module, LevelTable):
                    module.requires_grad_(False)
            self.transform.g_s.gain.requires_grad_(False)
        else:
            self.entropy = EntropyModel(config.entropy, channels, config.levels)
            self.stride, self.skip = config.entropy.z_stride, config.entropy.skip
        # Samples are padded to whole frames of z.
        self.granule = self.transform.samples_per_frame * self.stride
        if CHUNK_FRAMES % self.stride:
            raise ValueError(f"z_stride must divide {CHUNK_FRAMES}")

    def forward(self, x: Tensor, level: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Samples [B, T], T a multiple of `granule`, and the level [B] of each -> (x_hat [B, T],
        bits as of EntropyModel)."""
        y_hat, bits = self.entropy(self.transform.analyse(x, level), level)
        return self.transform.synthesise(y_hat, level), bits

    def spread_levels(self, lmbda: Sequence[float]) -> None:
        """Start the quantization steps of the levels apart, by a first guess of how they follow
        lambda: training moves them too slowly to find it."""
        log_lmbda = torch.tensor(lmbda).log()
        spread = self.transform.level_spread * (log_lmbda - log_lmbda.mean())
        for gain in (self.transform.g_a.gain, self.transform.g_s.gain):
            nn.init.zeros_(gain.weight).data += spread[:, None]

    def kbps(self, bits: dict[str, Tensor], samples: int) -> Tensor:
        """Estimated rate [B] of sequences of `samples` samples, in kbit/s."""
        return (bits["z"] + bits["slices"].sum(dim=-1)) * (SAMPLE_RATE / samples / 1000)

    # ------------------------------------------------------------------ real streams

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in: float32 in training, float64 in a model that was loaded."""
        return self.transform.g_a.gain.weight.dtype

    def count_chunks(self, samples: int) -> int:
        """Chunks of a signal of `samples` samples."""
        return -(-samples // (CHUNK_FRAMES * self.transform.samples_per_frame))

    def chunks(self, samples: int) -> Iterator[int]:
        """Latent frames of each chunk of a signal of `samples` samples: both sides derive the
        layout from the length alone."""
        frames = -(-samples // self.granule) * self.stride
        for at in range(0, frames, CHUNK_FRAMES):
            yield min(CHUNK_FRAMES, frames - at)

    @torch.inference_mode()
    def analyse_chunks(self, x: Tensor, level: int) -> Iterator[Tensor]:
        """y [1, T, channels], float64, of each chunk of the samples x [T], in order."""
        step, start = self.transform.samples_per_frame, 0
        for frames in self.chunks(len(x)):
            first = max(0, start - CONTEXT_FRAMES)
            last = start + frames + CONTEXT_FRAMES
            part = x[first * step : last * step]
            # Zeros stand for what lies beyond the end; whole frames are dropped again below.
            needed = max(start + frames, -(-len(part) // step) + first) - first
            part = F.pad(part, (0, needed * step - len(part)))
            y = self.transform.analyse(part[None].to(self.dtype), torch.tensor([level]))
            yield y[:, start - first : start - first + frames].double()
            start += frames

    @torch.inference_mode()
    def compress_chunks(
        self, x: Tensor, level: int, skip: int, covered: Iterable[bytes] | None = None
    ) -> Iterator[tuple[bytes, Latent]]:
        """The stream of each chunk of the samples x [T], and what it says. The check in each
        covers the next of `covered` too."""
        for y, own in zip(self.analyse_chunks(x, level), covered or repeat(b""), strict=False):
            yield self.entropy.compress(y, level, skip, own)

    @torch.inference_mode()
    def synthesise_chunks(
        self, latents: Iterable[Tensor | None], samples: int, level: int
    ) -> Iterator[Tensor]:
        """Samples of each chunk in order, [T_i]; those of all chunks are exactly `samples`.

        Each chunk is synthesised with `CONTEXT_FRAMES` latent frames of its neighbours, so that
        at most three chunks are held at a time. A chunk that is None is silent.

        Args:
            latents: y_hat [1, T_i, channels] of each chunk of a signal of `samples` samples.
            samples: length of the signal.
            level: the level at which it was coded.
        """
        step, left = self.transform.samples_per_frame, samples
        none = torch.zeros(1, 0, self.config.transform.channels, dtype=self.dtype)
        layout, remaining, end = self.chunks(samples), iter(latents), object()
        before, current = none, next(remaining, end)
        while current is not end:
            after = next(remaining, end)
            x_hat = torch.zeros(next(layout) * step, dtype=self.dtype)
            if isinstance(current, Tensor):
                head = before[:, -CONTEXT_FRAMES:]
                tail = after[:, :CONTEXT_FRAMES] if isinstance(after, Tensor) else none
                y_hat = torch.cat([head, current, tail], dim=1).to(self.dtype)
                x_hat = self.transform.synthesise(y_hat, torch.tensor([level]))[0]
                x_hat = x_hat[head.shape[1] * step :][: current.shape[1] * step]
            yield x_hat[:left]
            left -= len(x_hat)
            before = current if isinstance(current, Tensor) else none
            current = after

    @torch.inference_mode()
    def decompress(
        self, stream: bytes, frames: int, level: int, skip: int, covered: bytes = b""
    ) -> Latent:
        """What the stream of a chunk of `frames` latent frames says.

        Raises:
            rans.CodingError: it does not decode to what was encoded, or `covered` differs.
        """
        return self.entropy.decompress(stream, frames, level, skip, covered)

    def update(self) -> None:
        """Round the weights that must be fixed-point and build the coding tables; once, after
        training and after rounding of the weights to half precision."""
        exact.round_weights(self)
        self.entropy.update()
