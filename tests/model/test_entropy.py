import numpy as np
import pytest
import torch
from model.conftest import LEVELS, coder, raw_codec, tiny_codec

from ecc.model.config import MAX_SKIP
from ecc.model.entropy import EntropyModel
from ecc.model.walk import frame_groups

ENTROPY = tiny_codec().entropy


def latent(frames: int, seed: int = 0, scale: float = 4.0) -> torch.Tensor:
    noise = torch.randn(1, frames, 8, generator=torch.Generator().manual_seed(seed))
    return noise.double() * scale


def test_what_coding_would_skip_still_learns():
    entropy = raw_codec(skip=MAX_SKIP, hyperprior=False, context=False, lrp=False).entropy.train()
    for net in entropy.parameter_nets:
        net[-1].bias.chunk(2)[1].fill_(-5.0)  # of the scale indexes
    y = latent(40, scale=0.3).float().requires_grad_()
    y_hat, bits = entropy(y, torch.tensor([0]))
    assert bits["skipped"] > 0.5
    y_hat.square().sum().backward()
    assert (y.grad != 0).all()


def test_a_batch_is_estimated_as_its_sequences_alone_each_at_its_level():
    y = torch.cat([latent(24, seed) for seed in range(4)])
    levels = torch.tensor([2, 0, 1, 2])
    y_hat, bits = ENTROPY(y, levels)
    for i, level in enumerate(levels):
        alone, alone_bits = ENTROPY(y[i : i + 1], level[None])
        assert torch.equal(alone[0], y_hat[i])
        assert alone_bits["z"][0] == pytest.approx(bits["z"][i].item(), rel=1e-9)
        np.testing.assert_allclose(alone_bits["slices"][0], bits["slices"][i], rtol=1e-9)


def test_each_level_has_a_prior_of_z_of_its_own():
    codec = raw_codec()
    bottleneck = codec.entropy.bottleneck
    y = latent(40).float()
    _, before = codec.entropy(y.repeat(3, 1, 1), torch.arange(3))
    with torch.no_grad():
        # The channels of level 1: everything else about it stays.
        bottleneck.biases[0][4:8] += 3.0
    _, after = codec.entropy(y.repeat(3, 1, 1), torch.arange(3))
    changed = (before["z"] != after["z"]).tolist()
    assert changed == [False, True, False]
    assert torch.equal(before["slices"], after["slices"])
    codec.update()
    z_tables = coder(codec).entropy.z_tables
    assert len(z_tables.models) == 4 * LEVELS
    assert not np.array_equal(z_tables.offsets[:4], z_tables.offsets[4:8])


def test_the_gain_of_a_level_scales_its_z():
    codec = tiny_codec()
    zs = codec.entropy._z(latent(40).repeat(3, 1, 1), torch.arange(3))
    gains = torch.exp(codec.entropy.z_gain.weight)
    torch.testing.assert_close(zs[1] / zs[0], (gains[1] / gains[0]).expand(10, 4))
    assert (gains[1] - gains[0]).abs().min() > 1e-3


def indexes_of_steps(entropy: EntropyModel, psi: torch.Tensor, y: torch.Tensor):
    """Scale indexes of each step of the walk."""
    seen: list[torch.Tensor] = []

    def record(residual, index):
        seen.append(index)
        return residual.round()

    entropy.walk(psi, torch.zeros_like(y), y, record)
    return seen


def test_each_slice_depends_only_on_the_slices_before_it():
    entropy = tiny_codec(lrp=False).entropy
    psi, y = torch.randn(1, 8, 16, dtype=torch.float64), latent(8)
    changed = y.clone()
    changed[..., 4:6] += 3  # the third of four slices
    before, after = (indexes_of_steps(entropy, psi, values) for values in (y, changed))
    # Three steps a slice: what comes of the third begins with its second group.
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True] * 7 + [False] * 5


def test_frames_see_those_of_earlier_groups_on_either_side():
    entropy = tiny_codec(hyperprior=False, context=False).entropy  # frames 0 4, 2 6, 1 3 5 7
    psi, y = torch.randn(1, 8, 16, dtype=torch.float64), latent(8)
    first = indexes_of_steps(entropy, psi, y)
    # What frame 4 changes of 2 and 6 changes all that lie between.
    cases = {4: [[], [0, 1], [0, 1, 2, 3]], 2: [[], [], [0, 1]], 5: [[], [], []]}
    for frame, changes in cases.items():
        changed = y.clone()
        changed[:, frame] += 3
        after = indexes_of_steps(entropy, psi, changed)
        for step, (one, other) in enumerate(zip(first, after, strict=True)):
            differ = (one != other).any(dim=-1)[0].nonzero()[:, 0].tolist()
            assert differ == changes[step % 3]  # by place in the group


@pytest.mark.parametrize(
    ("count", "groups"),
    [
        (1, [[*range(16)]]),
        (2, [[*range(0, 16, 2)], [*range(1, 16, 2)]]),
        (4, [[0, 8], [4, 12], [2, 6, 10, 14], [*range(1, 16, 2)]]),
    ],
)
def test_groups_lie_halfway_between_those_before(count, groups):
    assert [list(range(16)[frames]) for frames in frame_groups(count)] == groups


def test_training_learns_the_scale_of_what_coding_would_skip():
    entropy = raw_codec(skip=MAX_SKIP, lrp=False).entropy.requires_grad_(True).train()
    with torch.no_grad():
        for net in entropy.parameter_nets:
            net[-1].weight.zero_()
            net[-1].bias[2:] = -3.0  # below the threshold, above the smallest scale
    y_hat, bits = entropy(latent(40).float(), torch.tensor([0]))
    assert bits["skipped"] == 1
    assert bits["slices"].sum() > 0
    bits["slices"].sum().backward()
    assert entropy.parameter_nets[0][-1].bias.grad[2:].abs().sum() > 0
    assert y_hat.requires_grad


def test_training_teaches_every_level_present_and_no_other():
    entropy = raw_codec().entropy.train()
    entropy.requires_grad_(True)
    _, bits = entropy(latent(40).float().repeat(2, 1, 1), torch.tensor([0, 2]))
    (bits["z"].sum() + bits["slices"].sum()).backward()
    for table in (entropy.psi_level, entropy.z_level, entropy.z_gain):
        taught = (table.weight.grad.abs().sum(dim=1) > 0).tolist()
        assert taught == [True, False, True]


def test_training_and_coding_agree_but_for_rounding():
    trained, coding = raw_codec(), tiny_codec()
    y = latent(400)
    _, estimated = trained.entropy(y.float(), torch.tensor([1]))
    _, exact = coding.entropy(y, torch.tensor([1]))
    for key in ("z", "slices"):
        np.testing.assert_allclose(estimated[key], exact[key], rtol=0.02, atol=4)


def test_unequal_slices_are_refused():
    with pytest.raises(ValueError, match="8 channels do not make 3"):
        EntropyModel(tiny_codec().config.entropy.model_copy(update={"slices": 3}), 8, 1)
