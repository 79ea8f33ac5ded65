"""A larger model that begins where a smaller one ended (Chen et al., "Net2Net", 2016): it computes
the same, and has more to learn with.

What may be larger: the hidden layers of the blocks, the taps of the entropy model, its groups of
frames where there are two at least, and the levels, of which the new ones are the lowest.
"""

import re

import torch
from torch import Tensor, nn

from ecc.model.codec import ECC
from ecc.model.entropy import EntropyModel
from ecc.model.layers import LevelTable, Taps
from ecc.model.priors import EntropyBottleneck
from ecc.model.rvq import ResidualVectorQuantizer


@torch.no_grad()
def grow(codec: ECC, trained: ECC) -> None:
    """Give `codec` the weights of `trained`, in place.

    Raises:
        ValueError: it cannot compute what `trained` does; the message names the layer.
    """
    levels = codec.config.levels - trained.config.levels
    parts = dict(trained.named_modules())
    for name, part in codec.named_modules():
        source = parts.get(_origin(name, codec, trained))
        if source is None:
            if any(True for _ in part.parameters(recurse=False)):
                raise ValueError(f"{name}: the smaller model has no such layer")
        elif isinstance(part, nn.Linear):
            _grow_linear(part, source)
        elif isinstance(part, LevelTable):
            part.weight.copy_(_extrapolated(source.weight, levels))
        elif isinstance(part, EntropyBottleneck):
            own = source.quantiles.shape[0] // trained.config.levels
            for parameter, values in zip(part.parameters(), source.parameters(), strict=True):
                parameter.copy_(torch.cat([*[values[:own]] * levels, values]))
        elif not isinstance(part, nn.ParameterList):  # of the bottleneck, which has them already
            state = dict(source.named_parameters(recurse=False))
            state |= dict(source.named_buffers(recurse=False))
            for key, parameter in part.named_parameters(recurse=False):
                if parameter.shape != state[key].shape:
                    raise ValueError(f"{name}.{key}: cannot grow")
                parameter.copy_(state[key])
            if isinstance(part, ResidualVectorQuantizer):
                part.counts.copy_(state["counts"])  # without them all entries would start again


def _origin(name: str, codec: ECC, trained: ECC) -> str:
    """The layer of the smaller model that a layer begins as: the net of a new group of frames
    begins as that of the first one, which knew no frames around it either."""
    match = re.fullmatch(r"(entropy\.(?:parameter|lrp)_nets)\.(\d+)(.*)", name)
    if match is None:
        return name
    assert isinstance(codec.entropy, EntropyModel)
    assert isinstance(trained.entropy, EntropyModel)
    count, before = len(codec.entropy.groups), len(trained.entropy.groups)
    if before == 1 < count or before > count:
        raise ValueError(f"{before} groups of frames cannot become {count}")
    piece, group = divmod(int(match[2]), count)
    return f"{match[1]}.{piece * before + max(0, group - count + before)}{match[3]}"


def _grow_linear(layer: nn.Linear, source: nn.Module) -> None:
    """Outputs that the smaller layer has are those of its inputs alone; others stay as they are."""
    assert isinstance(source, nn.Linear)
    weight, small = _by_taps(layer), _by_taps(source)
    outputs, taps, inputs = small.shape
    first = (weight.shape[1] - taps) // 2
    if first < 0 or weight.shape[0] < outputs or weight.shape[2] < inputs:
        raise ValueError(f"a layer of {tuple(small.shape)} cannot become {tuple(weight.shape)}")
    weight[:outputs] = 0
    weight[:outputs, first : first + taps, :inputs] = small
    layer.bias[:outputs] = source.bias


def _by_taps(layer: nn.Linear) -> Tensor:
    """The weight [outputs, taps, inputs] of a layer, a view."""
    taps = layer.taps if isinstance(layer, Taps) else 1
    return layer.weight.unflatten(1, (taps, -1))


def _extrapolated(rows: Tensor, count: int) -> Tensor:
    """The rows of levels with `count` more before them, each as far from the next as that is from
    the one behind it."""
    for _ in range(count):
        rows = torch.cat([2 * rows[:1] - rows[1:2], rows])
    return rows
