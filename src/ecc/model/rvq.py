"""Residual vector quantization, which most neural codecs have in the place of an entropy model.

    y --> nearest entry of code book 1 --what is left--> nearest entry of code book 2 --> ...
    y_hat = the sum of the entries of the first n stages; n follows from the level

Zeghidour et al., "SoundStream" (2021), section III-C: each stage codes what those before it left,
code books follow moving averages of what they code, entries that nothing falls on start again,
and training with a random n ("quantizer dropout") gives one model several rates. Du et al.,
"FunCodec" (2023), quantize in this way too. Every token takes the same number of bits, unless a
model of the tokens, trained afterwards, says how likely they are (`TokenModel`): post-hoc entropy
coding.

`ResidualVectorQuantizer` stands in for `ecc.model.entropy.EntropyModel`: the same interface, and
nothing that decoding depends on is subject to rounding. `ecc.runtime.rvq` codes with it.
"""

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ecc.model.config import RvqConfig, TokenConfig
from ecc.model.exact import FixedTable, FixedTaps, fixed
from ecc.model.fixed_point import HIDDEN_LIMIT
from ecc.model.walk import TokenWalk

DEAD = 0.1  # an entry that codes less than this share of the average starts again


class Counter:
    """Counts the bits of tokens by their probabilities; nothing is coded."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.groups: list[Tensor] = []  # [B, N], bits of each token of a group

    def __call__(self, tokens: Tensor | None, log_odds: Tensor) -> Tensor:
        assert tokens is not None
        if log_odds.shape[-1]:
            log_odds = log_odds.transpose(1, 2) * math.log(2)
            nats = F.cross_entropy(log_odds, tokens, reduction="none")
            self.groups.append(nats / math.log(2))
        else:
            self.groups.append(torch.full(tokens.shape, float(self.bits)))
        return tokens


class TokenModel(nn.Module):
    """The probabilities of tokens, given those of the stages before and of the frames around.

    A network that all stages share looks at a window of frames: y_hat of the stages before, and
    the entries of this stage in those frames that are known already. What it says is compared
    with every entry of the code book, as in an output layer that is tied to its embedding.

    Args:
        config: sizes.
        stages: of the quantizer.
        entries: of a code book.
        channels: of y.
        levels: quality levels.
    """

    def __init__(
        self, config: TokenConfig, stages: int, entries: int, channels: int, levels: int
    ) -> None:
        super().__init__()
        self.taps = config.taps
        width = config.width
        self.window = FixedTaps((2 * channels + 1) * config.taps, width)
        self.stage, self.level = FixedTable(stages, width), FixedTable(levels, width)
        self.inner = FixedTaps(width, width)
        self.heads = nn.ModuleList()
        for _ in range(stages):
            head = FixedTaps(width, channels + 1)
            nn.init.zeros_(head.weight)  # at first all entries are alike
            nn.init.zeros_(head.bias)
            self.heads.append(head)
        self.bias = FixedTable(stages, entries)

    def forward(
        self, stage: int, level: Tensor, seen: Tensor, frames: slice, codebook: Tensor
    ) -> Tensor:
        """The logarithm to base 2 of the odds of each entry, [B, N, entries].

        Args:
            stage: whose tokens.
            level: of each sequence, [B].
            seen: what is known of each frame, [B, T, 2 * channels + 1].
            frames: the N frames that are asked for.
            codebook: of the stage, [entries, channels], fixed-point.
        """
        half = self.taps // 2
        asked = torch.arange(seen.shape[1])[frames, None] + torch.arange(self.taps)
        window = F.pad(seen, (0, 0, half, half))[:, asked]
        hidden = self.window(window.flatten(2)) + self.stage(_one(stage)) + self.level(level)
        hidden = self.heads[stage](F.relu(self.inner(F.relu(fixed(hidden)))))
        hidden = hidden.clamp(-HIDDEN_LIMIT, HIDDEN_LIMIT)
        # With its own length beside each entry, odds fall with the distance from any point.
        length = fixed(codebook.square().mean(dim=-1, keepdim=True))
        compared = hidden @ torch.cat([codebook, length], dim=-1).T
        return fixed(compared + self.bias(_one(stage)))


class ResidualVectorQuantizer(nn.Module, TokenWalk):
    """Codes a latent y [B, T, channels].

    Args:
        config: sizes, and the stages that each level uses.
        channels: of y.
        codebooks: [stages or more, entries, channels], if they are given and not learned.
    """

    codebooks: Tensor
    counts: Tensor
    stages: Tensor

    def __init__(self, config: RvqConfig, channels: int, codebooks: Tensor | None = None) -> None:
        super().__init__()
        self.config, stages, entries = config, max(config.stages), 1 << config.bits
        self.register_buffer("stages", torch.tensor(config.stages), persistent=False)
        if codebooks is None:
            learned = torch.zeros(stages, entries, channels)
            self.codebooks = nn.Parameter(learned, requires_grad=False)
            self.register_buffer("counts", torch.zeros(stages, entries))  # moving averages of use
        else:
            self.register_buffer("codebooks", codebooks[:stages].clone(), persistent=False)
        self.tokens = None
        if config.tokens is not None:
            levels = len(config.stages)
            self.tokens = TokenModel(config.tokens, stages, entries, channels, levels)

    # ------------------------------------------------------------------ training

    def forward(self, y: Tensor, level: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Quantize y [B, T, channels] with the stages of the level [B] of each sequence.

        Returns y_hat, with the gradient of the identity, and as of `EntropyModel` the bits of each
        sequence, all in `slices` [B, stages]; `commitment` is what training is to keep small
        besides (van den Oord et al., "Neural discrete representation learning", 2017, eq. 3).
        """
        left, commitment = y, y.new_zeros(())
        active = self.stages[level][:, None] > torch.arange(len(self.codebooks), device=y.device)
        # In training all stages, since the processes that learn together draw other levels.
        stages = len(self.codebooks) if self.training else int(self.stages[level].max())
        # Distances are not for bfloat16.
        with torch.autocast(y.device.type, enabled=False):
            for stage in range(stages):
                tokens = self._nearest(left, stage)
                entries = F.embedding(tokens, self.codebooks[stage]) * active[:, stage, None, None]
                if self.training:
                    coded = left[active[:, stage]].detach()
                    self._learn(stage, coded.flatten(0, 1), tokens[active[:, stage]].flatten())
                left = left - entries
                error = left.square().mean(dim=(1, 2))
                commitment = commitment + (error * active[:, stage]).mean()
        if self.training and dist.is_initialized():
            dist.broadcast(self.codebooks, 0)  # what entries start from anew is each process's own
        bits = {
            "z": y.new_zeros(len(y)),
            "slices": active * float(self.config.bits * y.shape[1]),
            "skipped": y.new_zeros(()),
            "commitment": self.config.commitment * commitment,
        }
        return y - left.detach(), bits

    def _nearest(self, y: Tensor, stage: int) -> Tensor:
        """The entry of the code book of `stage` that is nearest to y [B, T, channels], [B, T]."""
        codebook = self.codebooks[stage]
        return (codebook.square().sum(dim=-1) - 2 * y @ codebook.T).argmin(dim=-1)

    @torch.no_grad()
    def _learn(self, stage: int, y: Tensor, tokens: Tensor) -> None:
        """Move the entries of a stage towards the means of what they stand for, y [N, channels]."""
        counts, codebook = self.counts[stage], self.codebooks[stage]
        new = torch.bincount(tokens, minlength=len(counts)).to(counts)
        sums = torch.zeros_like(codebook).index_add_(0, tokens, y)
        if dist.is_initialized():
            dist.all_reduce(new)
            dist.all_reduce(sums)
        if not new.any():
            return
        # Both are moving averages: of the number of vectors of each entry, and of their sum.
        total = torch.lerp(counts[:, None] * codebook, sums, 1 - self.config.decay)
        counts.lerp_(new, 1 - self.config.decay)
        codebook.copy_(total / counts.clamp_min(1e-9)[:, None])
        dead = counts < DEAD * counts.mean()
        if len(y):
            codebook[dead] = y[torch.randint(len(y), (int(dead.sum()),), device=y.device)]
            counts[dead] = counts.mean()

    # ------------------------------------------------------------------ of the walk

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """As of `Walk`."""
        return torch.cat(list(parts), dim=-1)

    def fixed(self, x: Tensor) -> Tensor:
        """As of `Walk`."""
        return fixed(x)

    # ------------------------------------------------------------------ tokens

    def token_bits(self, tokens: Tensor, level: Tensor) -> Tensor:
        """Bits [B] by their probabilities of the tokens [B, T, stages] of sequences at the levels
        [B], which have the same number of stages."""
        batch, frames, stages = tokens.shape
        counter = Counter(self.config.bits)
        blank = self.codebooks.new_zeros(batch, frames, self.codebooks.shape[-1])
        self.walk(level, stages, blank, tokens, counter)
        return torch.cat(counter.groups, dim=1).sum(dim=1)

    @torch.no_grad()
    def quantize(self, y: Tensor, level: int) -> Tensor:
        """y [B, T, channels] -> the tokens of the level, [B, T, stages]."""
        left, tokens = y, []
        for stage in range(self.config.stages[level]):
            tokens.append(self._nearest(left, stage))
            left = left - fixed(F.embedding(tokens[-1], self.codebooks[stage]))
        return torch.stack(tokens, dim=-1)

    def update(self) -> None:
        """Nothing: there are no tables to build."""


def _one(index: int) -> Tensor:
    return torch.tensor([index])
