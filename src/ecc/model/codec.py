"""ECC: the transform and the entropy model together, for training and for coding.

x --transform.analyse--> y --entropy--> y_hat --transform.synthesise--> x_hat
                               |
                              bits
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecc.data.speech import SAMPLE_RATE
from ecc.model.config import CodecConfig
from ecc.model.entropy import EntropyModel
from ecc.model.transform import Transform

# Latent frames that are coded together, and those on either side that the transform sees too,
# so that chunks join without a seam. Both are part of the stream format.
CHUNK_FRAMES = 1024
CONTEXT_FRAMES = 16


class ECC(nn.Module):
    """The entropy-constrained speech codec, 16 kHz mono.

    `forward` estimates the rate and reconstructs, for training; `compress_chunks` and
    `decompress_chunks` go through real streams, after `update` has built the coding tables.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.transform = Transform(config.transform)
        self.entropy = EntropyModel(config.entropy, config.transform.channels)
        # Samples are padded to whole frames of z.
        self.granule = self.transform.samples_per_frame * config.entropy.z_stride
        if CHUNK_FRAMES % config.entropy.z_stride:
            raise ValueError(f"z_stride must divide {CHUNK_FRAMES}")

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Samples [B, T], T a multiple of `granule` -> (x_hat [B, T], bits as of EntropyModel)."""
        y_hat, bits = self.entropy(self.transform.analyse(x))
        return self.transform.synthesise(y_hat), bits

    def kbps(self, bits: dict[str, Tensor], samples: int) -> Tensor:
        """Estimated rate [B] of sequences of `samples` samples, in kbit/s."""
        return (bits["z"] + bits["slices"].sum(dim=-1)) * (SAMPLE_RATE / samples / 1000)

    # ------------------------------------------------------------------ real streams

    def chunks(self, samples: int) -> list[int]:
        """Latent frames of each chunk of a signal of `samples` samples: both sides derive the
        layout from the length alone."""
        frames = -(-samples // self.granule) * self.config.entropy.z_stride
        return [min(CHUNK_FRAMES, frames - at) for at in range(0, frames, CHUNK_FRAMES)]

    @torch.inference_mode()
    def latents(self, x: Tensor) -> Iterator[Tensor]:
        """y [1, T, channels] of each chunk of the samples x [T], in order."""
        step, start = self.transform.samples_per_frame, 0
        for frames in self.chunks(len(x)):
            first = max(0, start - CONTEXT_FRAMES)
            last = start + frames + CONTEXT_FRAMES
            part = x[first * step : last * step]
            # Zeros stand for what lies beyond the end; whole frames are dropped again below.
            needed = max(start + frames, -(-len(part) // step) + first) - first
            part = F.pad(part, (0, needed * step - len(part)))
            y = self.transform.analyse(part[None])
            yield y[:, start - first : start - first + frames]
            start += frames

    @torch.inference_mode()
    def compress_chunks(self, x: Tensor, skip: int) -> Iterator[bytes]:
        """The rANS stream of each chunk of the samples x [T]."""
        for y in self.latents(x):
            yield self.entropy.compress(y, skip)

    @torch.inference_mode()
    def estimated_bits(self, x: Tensor) -> float:
        """Bits of the samples x [T] by the likelihoods, rounded as in coding."""
        total = 0.0
        for y in self.latents(x):
            _, bits = self.entropy(y)
            total += (bits["z"].sum() + bits["slices"].sum()).item()
        return total

    @torch.inference_mode()
    def decompress_chunks(self, streams: list[bytes], samples: int, skip: int) -> Iterator[Tensor]:
        """Samples of each chunk in order, [T_i]; together exactly `samples`.

        Each chunk is synthesised with `CONTEXT_FRAMES` latent frames of its neighbours, so that
        at most three chunks are held at a time.
        """
        layout = self.chunks(samples)
        if len(streams) != len(layout):
            raise ValueError(f"{len(streams)} chunks where {len(layout)} are due")
        step, left = self.transform.samples_per_frame, samples
        before: Tensor | None = None
        decoded = (
            self.entropy.decompress(stream, frames, skip)
            for stream, frames in zip(streams, layout, strict=True)
        )
        current = next(decoded, None)
        while current is not None:
            after = next(decoded, None)
            head = 0 if before is None else min(CONTEXT_FRAMES, before.shape[1])
            parts = [current]
            if before is not None:
                parts.insert(0, before[:, -head:])
            if after is not None:
                parts.append(after[:, :CONTEXT_FRAMES])
            x_hat = self.transform.synthesise(torch.cat(parts, dim=1))[0]
            x_hat = x_hat[head * step : (head + current.shape[1]) * step][:left]
            left -= len(x_hat)
            yield x_hat
            before, current = current, after

    def update(self) -> None:
        """Build the coding tables; once, after training and after rounding of the weights."""
        self.entropy.update()
