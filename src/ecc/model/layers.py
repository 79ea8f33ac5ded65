"""The few layers that every network of the codec is made of. All tensors are time-major, [B, T, C].

A temporal convolution is one matrix product over the taps laid side by side, which is several
times faster on a CPU than a depthwise convolution and its backward pass.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Taps(nn.Linear):
    """Linear map of each frame and its neighbours: a convolution over time, zero-padded.

    Args:
        inputs: channels in.
        outputs: channels out.
        taps: odd number of frames that one output frame sees.
    """

    def __init__(self, inputs: int, outputs: int, taps: int = 1) -> None:
        super().__init__(inputs * taps, outputs)
        self.taps = taps

    def forward(self, x: Tensor, start: int = 0, step: int = 1) -> Tensor:
        """[B, T, inputs] -> [B, T', outputs], the frames from `start` on in steps of `step`."""
        frames = x.shape[1]
        padded = F.pad(x, (0, 0, self.taps // 2, self.taps // 2)) if self.taps > 1 else x
        seen = [padded[:, i + start : i + frames : step] for i in range(self.taps)]
        return super().forward(torch.cat(seen, dim=-1) if self.taps > 1 else seen[0])


class LevelTable(nn.Embedding):
    """A learned vector for each quality level, zero at first."""

    def __init__(self, levels: int, width: int) -> None:
        super().__init__(levels, width)
        nn.init.zeros_(self.weight)

    def forward(self, level: Tensor) -> Tensor:
        """[B] -> [B, 1, width]."""
        return super().forward(level)[:, None]


class Block(nn.Module):
    """Residual block: normalise, mix three frames into a wider layer, GELU, project back."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = Taps(width, hidden, taps=3)
        self.project = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        hidden: Tensor = F.gelu(self.expand(self.norm(x)), approximate="tanh")
        return x + self.project(hidden)


class LinearAttention(nn.Module):
    """Residual linear attention over all frames of a sequence, both ways in time.

    With the feature map phi = ReLU, out_t = phi(q_t) K / (phi(q_t) . k), where K is the sum over
    time of phi(k_s) v_s^T and k that of phi(k_s) (Katharopoulos et al., "Transformers are RNNs",
    2020, eq. 5). Cost grows linearly with the number of frames.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]; width is a multiple of the number of heads."""
        batch, frames, width = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = F.relu(q), F.relu(k)
        # Means over time keep the sums in the range of low-precision floats for any length.
        state = (k.transpose(-1, -2) / frames) @ v
        normaliser = (q * k.mean(dim=-2, keepdim=True)).sum(dim=-1, keepdim=True)
        attended = (q @ state) / (normaliser + 1e-3)
        return x + self.out(attended.transpose(1, 2).reshape(batch, frames, width))


def wide(x: Tensor) -> Tensor:
    """x in float32 at least: exponentials, likelihoods and roundings are not for bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def trunk(width: int, hidden: int, blocks: int, attention: int) -> nn.Sequential:
    """`blocks` residual blocks with `attention` linear-attention layers spread between them."""
    layers: list[nn.Module] = []
    placed = 0
    for i in range(blocks):
        layers.append(Block(width, hidden))
        while placed < round((i + 1) * attention / blocks):
            layers.append(LinearAttention(width))
            placed += 1
    return nn.Sequential(*layers)
