"""The order in which a latent is coded: what is known predicts what follows.

Both walks are written once, over arrays of NumPy as of PyTorch. Each is handed an object that
estimates, encodes or decodes what it comes to: by them PyTorch learns (`ecc.model`) and NumPy codes
(`ecc.runtime`), so that the rate in training, the encoder and the decoder cannot drift apart. The
classes here hold what both share; a subclass brings the networks and, in a line each, what the
libraries do differently.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecc.model.config import EntropyConfig

UNIT_INDEX = 22  # the scale nearest to 1
INDEX_GAIN = 4  # positions of the scale table in one unit of a network's output
ALL_FRAMES = slice(0, None, 1)

Array = Any
"""A `torch.Tensor` or a `numpy.ndarray`."""
ResidualCoder = Callable[[Array | None, Array], Array]
"""Residual y_i - mu [..., T', C] (None when decoding) and the real-valued scale index of each
element -> the residual as the decoder knows it."""
TokenCoder = Callable[[Array | None, Array], Array]
"""Tokens [..., N] (None when decoding), and the logarithm to base 2 of the odds of each,
[..., N, entries], or [..., N, 0] where all entries are alike -> the tokens."""


def frame_groups(count: int) -> list[slice]:
    """Frames that are coded together, in the order of coding. Of four groups the frames 0 mod 8,
    4 mod 8, 2 mod 4, and the odd ones: each lies halfway between two that are known."""
    steps = [2**power for power in range(count - 1, 0, -1)]
    return [slice(0, None, 2 ** (count - 1)), *(slice(step // 2, None, step) for step in steps)]


class Walk(ABC):
    """What arrays of both libraries can do, each in its own way."""

    @abstractmethod
    def join(self, parts: Sequence[Array]) -> Array:
        """Parts that lie side by side in their last dimension, as a new array."""

    @abstractmethod
    def fixed(self, x: Array) -> Array:
        """x as fixed point (`ecc.model.exact.fixed`)."""

    def _placed(self, sequence: Array, frames: slice, values: Array) -> Array:
        """The sequence [..., T, C] with `values` at some of its `frames`."""
        placed = self.join([sequence])
        placed[..., frames, :] = values
        return placed


class SliceWalk(Walk):
    """The walk of the entropy model, over slices of channels and in each over groups of frames."""

    config: EntropyConfig
    groups: list[slice]  # `frame_groups`
    # Networks of each step: [..., T, inputs] and a slice of frames -> [..., T', outputs] of these.
    parameter_nets: Any
    lrp_nets: Any

    @abstractmethod
    def to_index(self, x: Array) -> Array:
        """Real-valued scale indexes, bounded by the table, from the output of a network."""

    @abstractmethod
    def to_lrp(self, x: Array) -> Array:
        """What refines a rounded value, within ±0.5, from the output of a network."""

    def walk(self, psi: Array, blank: Array, y: Array | None, code: ResidualCoder) -> Array:
        """Code all slices in order and return y_hat [..., T, channels].

        Args:
            psi: [..., T, width], what z_hat and the quality level say of each latent frame.
            blank: zeros [..., T, channels]: of frames that are still to come nothing is known.
            y: the latent [..., T, channels] to estimate or encode, or None to decode.
            code: estimates, encodes or decodes the residual of one slice.
        """
        size = blank.shape[-1] // self.config.slices
        y_hat: list[Array] = []
        for step, parameter_net in enumerate(self.parameter_nets):
            i, group = divmod(step, len(self.groups))
            frames, channels = self.groups[group], slice(i * size, (i + 1) * size)
            support = [psi, *y_hat[:i]] if self.config.context else [psi]
            known = support if group == 0 else [*support, y_hat[i]]
            predicted = parameter_net(self.join(known), frames)
            mu, index = predicted[..., :size], self.to_index(predicted[..., size:])
            refined = mu + code(None if y is None else y[..., frames, channels] - mu, index)
            if group == 0:
                y_hat.append(blank[..., channels])
            if self.config.lrp:
                seen = self._placed(y_hat[i], frames, refined)
                lrp = self.lrp_nets[step](self.join([*support, seen]), frames)
                refined = refined + self.to_lrp(lrp)
            y_hat[i] = self._placed(y_hat[i], frames, refined)
        return self.join(y_hat)

    def join_steps(self, steps: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """What each step of the walk was about, [T', C'] each -> [T, C] in the order of y."""
        count = len(self.groups)
        groups = [np.hstack(steps[group::count]) for group in range(count)]
        joined = np.empty((sum(map(len, groups)), groups[0].shape[1]), groups[0].dtype)
        for frames, values in zip(self.groups, groups, strict=True):
            joined[frames] = values
        return joined


class TokenWalk(Walk):
    """The walk of a residual vector quantizer, over its stages and, with a model of the tokens, in
    each over groups of frames."""

    codebooks: Array  # [stages, entries, channels]
    tokens: Any  # the model of the tokens (`ecc.model.rvq.TokenModel`), or None

    def walk(
        self, level: Array, stages: int, blank: Array, tokens: Array | None, code: TokenCoder
    ) -> Array:
        """Code all tokens in order and return y_hat [..., T, channels].

        Args:
            level: quality level, or levels, that have the same number of stages.
            stages: that number.
            blank: zeros [..., T, channels], what is known at first.
            tokens: [..., T, stages] to count or encode, or None to decode.
            code: counts, encodes or decodes the tokens of one group of frames of a stage.
        """
        y_hat = blank
        for stage in range(stages):
            codebook = self.fixed(self.codebooks[stage])
            own, known = blank, blank[..., :1]
            for group in self.token_groups(blank.shape[-2]):
                log_odds = y_hat[..., group, :0]
                if self.tokens is not None:
                    seen = self.join([y_hat, own, known])
                    log_odds = self.tokens(stage, level, seen, group, codebook)
                found = code(None if tokens is None else tokens[..., group, stage], log_odds)
                own = self._placed(own, group, codebook[found])
                known = self._placed(known, group, 1)
            y_hat = self.fixed(y_hat + own)
        return y_hat

    def token_groups(self, frames: int) -> Iterator[slice]:
        """Frames of a stage that are coded together: those of later groups see those of earlier
        ones on either side, and none waits for the frame before it."""
        for group in frame_groups(3) if self.tokens is not None else [ALL_FRAMES]:
            if group.start < frames:
                yield group

    def join_groups(self, groups: Sequence[NDArray[Any]], frames: int) -> NDArray[Any]:
        """What the walk handed over of each group of each stage, [N] each -> [frames, stages]."""
        places = list(self.token_groups(frames))
        stages = len(groups) // len(places)
        joined = np.empty((frames, stages), groups[0].dtype)
        for at, values in enumerate(groups):
            stage, place = divmod(at, len(places))
            joined[places[place], stage] = values
        return joined
