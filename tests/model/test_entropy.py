import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.conftest import tiny_codec

SWITCHES = [
    {},
    {"hyperprior": False},
    {"context": False},
    {"lrp": False},
    {"attention": 0},
    {"skip": 0},
    {"skip": 30},
    {"slices": 1},
    {"hyperprior": False, "context": False, "lrp": False, "attention": 0, "skip": 0},
]


def latent(frames: int, seed: int = 0, scale: float = 4.0) -> torch.Tensor:
    return torch.randn(1, frames, 8, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_decoder_finds_the_y_hat_of_the_estimate(switches):
    entropy = tiny_codec(**switches).entropy
    y = latent(40)
    y_hat, _ = entropy(y)
    stream = entropy.compress(y, entropy.config.skip)
    assert torch.equal(entropy.decompress(stream, 40, entropy.config.skip), y_hat)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_stream_is_as_long_as_the_estimate(switches):
    entropy = tiny_codec(**switches).entropy
    y = latent(800, scale=1.0)
    _, bits = entropy(y)
    estimated = (bits["z"] + bits["slices"].sum()).item()
    real = 8 * len(entropy.compress(y, entropy.config.skip))
    assert real == pytest.approx(estimated, rel=0.01, abs=64)


@settings(max_examples=20)
@given(
    frames=st.integers(1, 30),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([0.0, 0.3, 10.0, 1e4, 1e8]),
    skip=st.integers(0, 63),
)
def test_round_trip(frames, seed, scale, skip):
    entropy = tiny_codec().entropy
    y = latent(4 * frames, seed, scale)
    stream = entropy.compress(y, skip)
    y_hat = entropy.decompress(stream, 4 * frames, skip)
    assert torch.isfinite(y_hat).all()
    # Without a threshold nothing is lost but the rounding, which LRP may move by another half.
    if skip == 0 and scale <= 1e4:
        assert (y_hat - y).abs().max() <= 1.0 + 1e-2


def test_skipped_elements_cost_nothing_and_equal_their_mean():
    entropy = tiny_codec(skip=63, lrp=False).entropy
    with torch.no_grad():
        for net in entropy.parameter_nets:
            net[-1].weight.zero_()
            net[-1].bias.fill_(0.25)
    y = latent(40)
    y_hat, bits = entropy(y)
    assert bits["slices"].sum() == 0
    assert bits["skipped"] == 1
    assert torch.all(y_hat == 0.25)
    z_only = len(entropy.compress(y, 63))
    assert z_only < len(entropy.compress(y, 0))


def test_each_slice_depends_only_on_the_slices_before_it():
    entropy = tiny_codec(lrp=False).entropy
    psi = torch.randn(1, 8, 16)
    seen: list[torch.Tensor] = []

    def record(residual, index):
        seen.append(index)
        return residual

    y = latent(8)
    entropy.walk(psi, y, record)
    first = list(seen)
    seen.clear()
    changed = y.clone()
    changed[..., 4:6] += 3  # the third of four slices
    entropy.walk(psi, changed, record)
    assert all(torch.equal(a, b) for a, b in zip(first[:3], seen[:3], strict=True))
    assert not torch.equal(first[3], seen[3])


def test_training_sees_the_mean_where_it_skips_and_still_learns_the_scale():
    entropy = tiny_codec(skip=63, lrp=False).entropy.requires_grad_(True).train()
    y_hat, bits = entropy(latent(40))
    assert bits["skipped"] == 1
    assert bits["slices"].sum() > 0
    bits["slices"].sum().backward()
    assert entropy.parameter_nets[0][-1].bias.grad[2:].abs().sum() > 0
    assert y_hat.requires_grad


def test_unequal_slices_are_refused():
    with pytest.raises(ValueError, match="8 channels do not make 3"):
        tiny_codec(slices=3)
