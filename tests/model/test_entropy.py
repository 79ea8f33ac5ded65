from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.conftest import LEVELS, raw_codec, tiny_codec

from ecc.model.config import MAX_SKIP, SCALES
from ecc.model.entropy import EntropyModel, Latent, frame_groups
from ecc.model.exact import STEP
from ecc.model.rans import SYMBOL_LIMIT, CodingError

SWITCHES = [
    {},
    {"hyperprior": False},
    {"context": False},
    {"taps": [3]},
    {"taps": [3, 3]},
    {"taps": [7, 5, 3, 3, 3]},
    {"lrp": False},
    {"attention": 0},
    {"attention": 2},
    {"skip": 0},
    {"skip": MAX_SKIP},
    {"slices": 1},
    {"z_stride": 1},
    {
        "hyperprior": False,
        "context": False,
        "taps": [1],
        "lrp": False,
        "attention": 0,
        "skip": 0,
    },
]
ENTROPY = tiny_codec().entropy


def latent(frames: int, seed: int = 0, scale: float = 4.0) -> torch.Tensor:
    noise = torch.randn(1, frames, 8, generator=torch.Generator().manual_seed(seed))
    return noise.double() * scale


def assert_same(decoded: Latent, encoded: Latent) -> None:
    assert torch.equal(decoded.y_hat, encoded.y_hat)
    np.testing.assert_array_equal(decoded.z, encoded.z)
    np.testing.assert_array_equal(decoded.symbols, encoded.symbols)
    np.testing.assert_array_equal(decoded.indexes, encoded.indexes)
    assert decoded.check() == encoded.check()


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_decoder_finds_what_was_encoded_and_estimated(switches):
    entropy = tiny_codec(**switches).entropy
    y, skip = latent(40), entropy.config.skip
    for level in range(LEVELS):
        stream, encoded = entropy.compress(y, level, skip)
        assert_same(entropy.decompress(stream, 40, level, skip), encoded)
        y_hat, bits = entropy(y, torch.tensor([level]))
        assert torch.equal(encoded.y_hat, y_hat)
        skipped = encoded.indexes < skip
        assert bits["skipped"] == pytest.approx(skipped.mean())
        assert not encoded.symbols[skipped].any()
        assert encoded.z.shape == (
            (40 // entropy.config.z_stride, 4) if entropy.config.hyperprior else (0, 0)
        )


def test_what_coding_would_skip_still_learns():
    entropy = raw_codec(skip=MAX_SKIP, hyperprior=False, context=False, lrp=False).entropy.train()
    for net in entropy.parameter_nets:
        net[-1].bias.chunk(2)[1].fill_(-5.0)  # of the scale indexes
    y = latent(40, scale=0.3).float().requires_grad_()
    y_hat, bits = entropy(y, torch.tensor([0]))
    assert bits["skipped"] > 0.5
    y_hat.square().sum().backward()
    assert (y.grad != 0).all()


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_stream_is_as_long_as_the_estimate(switches):
    entropy = tiny_codec(**switches).entropy
    y = latent(800, scale=1.0)
    _, bits = entropy(y, torch.tensor([1]))
    estimated = (bits["z"] + bits["slices"].sum()).item()
    real = 8 * len(entropy.compress(y, 1, entropy.config.skip)[0])
    assert real == pytest.approx(estimated, rel=0.01, abs=48)


@pytest.mark.parametrize("switches", [{}, {"hyperprior": False}], ids=str)
def test_costs_of_the_symbols_are_those_of_the_stream(switches):
    entropy = tiny_codec(**switches).entropy
    for scale in (1.0, 1e3):  # without and with escapes
        stream, encoded = entropy.compress(latent(400, scale=scale), 2, 5)
        z, y = entropy.costs(encoded, 2)
        assert z.shape == encoded.z.shape
        assert y.shape == encoded.y_hat.shape[1:]
        coded = z.sum() + y[encoded.indexes >= 5].sum()
        assert 8 * len(stream) == pytest.approx(coded + 24, rel=1e-3, abs=8)


@settings(max_examples=30)
@given(
    rows=st.integers(1, 30),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([0.0, 0.3, 10.0, 1e4, 1e8]),
    level=st.integers(0, LEVELS - 1),
    skip=st.integers(0, MAX_SKIP),
)
def test_round_trip(rows, seed, scale, level, skip):
    y = latent(4 * rows, seed, scale)
    stream, encoded = ENTROPY.compress(y, level, skip)
    assert_same(ENTROPY.decompress(stream, 4 * rows, level, skip), encoded)
    assert encoded.y_hat.dtype == torch.float64
    assert torch.equal(encoded.y_hat, torch.round(encoded.y_hat / STEP) * STEP)
    assert encoded.indexes.min() >= 0
    assert encoded.indexes.max() < SCALES
    # Without a threshold nothing is lost but the rounding, which LRP may move by another half.
    if skip == 0 and scale <= 10:
        assert (encoded.y_hat - y).abs().max() <= 1.0


def test_values_out_of_range_are_coded_as_the_largest():
    y = torch.full((1, 4, 8), 1e30, dtype=torch.float64)
    y[:, :, ::2] *= -1
    stream, encoded = ENTROPY.compress(y, 0, 0)
    assert_same(ENTROPY.decompress(stream, 4, 0, 0), encoded)
    assert set(encoded.symbols.ravel()) == {-SYMBOL_LIMIT, SYMBOL_LIMIT - 1}


@pytest.mark.parametrize("switches", [{}, {"attention": 0}], ids=str)
def test_coding_does_not_depend_on_threads(switches):
    entropy = tiny_codec(**switches).entropy
    y = latent(200)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        stream, encoded = entropy.compress(y, 0, 5)
        torch.set_num_threads(3)
        assert entropy.compress(y, 0, 5)[0] == stream
        assert_same(entropy.decompress(stream, 200, 0, 5), encoded)
    finally:
        torch.set_num_threads(before)


def test_a_batch_is_estimated_as_its_sequences_alone_each_at_its_level():
    y = torch.cat([latent(24, seed) for seed in range(4)])
    levels = torch.tensor([2, 0, 1, 2])
    y_hat, bits = ENTROPY(y, levels)
    for i, level in enumerate(levels):
        alone, alone_bits = ENTROPY(y[i : i + 1], level[None])
        assert torch.equal(alone[0], y_hat[i])
        assert alone_bits["z"][0] == pytest.approx(bits["z"][i].item(), rel=1e-9)
        np.testing.assert_allclose(alone_bits["slices"][0], bits["slices"][i], rtol=1e-9)


def test_levels_code_differently_and_are_not_mistaken_for_each_other():
    y = latent(40)
    streams = [ENTROPY.compress(y, level, 0)[0] for level in range(LEVELS)]
    assert len(set(streams)) == LEVELS
    for level, stream in enumerate(streams):
        for other in set(range(LEVELS)) - {level}:
            with pytest.raises(CodingError):
                ENTROPY.decompress(stream, 40, other, 0)


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
    _, z_tables = codec.entropy.tables()
    assert z_tables is not None
    assert len(z_tables.models) == 4 * LEVELS
    assert not np.array_equal(z_tables.offsets[:4], z_tables.offsets[4:8])


def test_the_gain_of_a_level_scales_its_z():
    codec = tiny_codec()
    zs = codec.entropy._z(latent(40).repeat(3, 1, 1), torch.arange(3))
    gains = torch.exp(codec.entropy.z_gain.weight)
    torch.testing.assert_close(zs[1] / zs[0], (gains[1] / gains[0]).expand(10, 4))
    assert (gains[1] - gains[0]).abs().min() > 1e-3


def test_a_wrong_threshold_or_length_is_caught():
    stream, _ = ENTROPY.compress(latent(40), 0, 5)
    assert (ENTROPY.compress(latent(40), 0, 5)[1].indexes < 15).any()
    for frames, skip in [(40, 15), (36, 5), (44, 5)]:
        with pytest.raises(CodingError):
            ENTROPY.decompress(stream, frames, 0, skip)


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=200), st.integers(0, LEVELS - 1))
def test_any_bytes_are_refused(data, level):
    with pytest.raises(CodingError):
        ENTROPY.decompress(data, 12, level, 5)


def test_every_flipped_bit_is_caught():
    stream, _ = ENTROPY.compress(latent(4), 0, 5)
    for bit in range(8 * len(stream)):
        flipped = bytearray(stream)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CodingError):
            ENTROPY.decompress(bytes(flipped), 4, 0, 5)


def test_the_check_covers_what_else_it_is_told_to():
    stream, encoded = ENTROPY.compress(latent(8), 0, 5, b"here")
    assert_same(ENTROPY.decompress(stream, 8, 0, 5, b"here"), encoded)
    for covered in (b"", b"there", b"here\0"):
        with pytest.raises(CodingError, match="other symbols"):
            ENTROPY.decompress(stream, 8, 0, 5, covered)


def test_the_check_sees_every_step_of_y_hat():
    _, encoded = ENTROPY.compress(latent(8), 0, 5)
    assert 0 <= encoded.check() < 2**23
    for t in range(8):
        for c in range(8):
            moved = encoded.y_hat.clone()
            moved[0, t, c] += STEP
            assert replace(encoded, y_hat=moved).check() != encoded.check()


def test_a_decoder_whose_weights_differ_by_a_step_is_caught():
    codec = tiny_codec()
    stream, _ = codec.entropy.compress(latent(40), 0, 5)
    codec.entropy.lrp_nets[3][-1].bias += 2.0**-9
    with pytest.raises(CodingError, match="other symbols"):
        codec.entropy.decompress(stream, 40, 0, 5)


def test_skipped_elements_cost_nothing_and_equal_their_mean():
    entropy = tiny_codec(skip=MAX_SKIP, lrp=False).entropy
    for net in entropy.parameter_nets:
        net[-1].weight.zero_()
        net[-1].bias[:2] = 0.25
        net[-1].bias[2:] = -10.0
    y = latent(40)
    y_hat, bits = entropy(y, torch.tensor([0]))
    assert bits["slices"].sum() == 0
    assert bits["skipped"] == 1
    assert torch.all(y_hat == 0.25)
    stream, encoded = entropy.compress(y, 0, MAX_SKIP)
    assert torch.all(encoded.y_hat == 0.25)
    assert 8 * len(stream) <= entropy.costs(encoded, 0)[0].sum() + 24 + 8
    assert len(stream) < len(entropy.compress(y, 0, 0)[0])


def test_a_higher_threshold_skips_more():
    entropy = tiny_codec(context=False, taps=[3]).entropy  # skipping changes no index
    for net in entropy.parameter_nets:
        net[-1].bias[2:] = -3.0  # scales around the thresholds
    y = latent(200, scale=1.0)
    latents = [entropy.compress(y, 0, skip)[1] for skip in range(MAX_SKIP + 1)]
    symbols = [int((kept.symbols != 0).sum()) for kept in latents]
    assert symbols == sorted(symbols, reverse=True)
    assert symbols[0] > symbols[-1]
    for skip, kept in enumerate(latents):
        np.testing.assert_array_equal(kept.indexes, latents[0].indexes)
        expected = np.where(kept.indexes < skip, 0, latents[0].symbols)
        np.testing.assert_array_equal(kept.symbols, expected)


def indexes_of_steps(entropy: EntropyModel, psi: torch.Tensor, y: torch.Tensor):
    """Scale indexes of each step of the walk."""
    seen: list[torch.Tensor] = []

    def record(residual, index):
        seen.append(index)
        return residual.round()

    entropy.walk(psi, y, record)
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
