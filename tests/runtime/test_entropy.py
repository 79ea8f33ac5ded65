"""Real streams of latents, beside what PyTorch says of the same latents."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.conftest import LEVELS, coder, tiny_codec

from ecc.model.config import MAX_SKIP, SCALES
from ecc.model.entropy import Estimator
from ecc.model.fixed_point import STEP
from ecc.model.rans import SYMBOL_LIMIT, CodingError
from ecc.runtime.entropy import EntropyCoder, Latent

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
TRAINED = tiny_codec().entropy
ENTROPY = coder(tiny_codec()).entropy


def coding(**switches: object) -> EntropyCoder:
    return coder(tiny_codec(**switches)).entropy


def latent(frames: int, seed: int = 0, scale: float = 4.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal((frames, 8))


def tensor(y: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(y)[None]


def assert_same(decoded: Latent, encoded: Latent) -> None:
    np.testing.assert_array_equal(decoded.y_hat, encoded.y_hat)
    np.testing.assert_array_equal(decoded.z, encoded.z)
    np.testing.assert_array_equal(decoded.symbols, encoded.symbols)
    np.testing.assert_array_equal(decoded.indexes, encoded.indexes)
    assert decoded.check() == encoded.check()


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_decoder_finds_what_was_encoded_and_estimated(switches):
    trained = tiny_codec(**switches)
    entropy = coder(trained).entropy
    y, skip = latent(40), entropy.config.skip
    for level in range(LEVELS):
        stream, encoded = entropy.compress(y, level, skip)
        assert_same(entropy.decompress(stream, 40, level, skip), encoded)
        y_hat, bits = trained.entropy(tensor(y), torch.tensor([level]))
        np.testing.assert_array_equal(encoded.y_hat, y_hat[0])
        said = encoded.z, encoded.symbols, encoded.indexes
        estimated = (bits["z"] + bits["slices"].sum()).item()
        assert trained.entropy.likelihood_bits(*said, level, skip) == pytest.approx(estimated)
        skipped = encoded.indexes < skip
        assert bits["skipped"] == pytest.approx(skipped.mean())
        assert not encoded.symbols[skipped].any()
        assert encoded.z.shape == (
            (40 // entropy.config.z_stride, 4) if entropy.config.hyperprior else (0, 0)
        )


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_stream_is_as_long_as_the_estimate(switches):
    trained = tiny_codec(**switches)
    entropy = coder(trained).entropy
    y = latent(800, scale=1.0)
    _, bits = trained.entropy(tensor(y), torch.tensor([1]))
    estimated = (bits["z"] + bits["slices"].sum()).item()
    real = 8 * len(entropy.compress(y, 1, entropy.config.skip)[0])
    assert real == pytest.approx(estimated, rel=0.01, abs=48)


@pytest.mark.parametrize("switches", [{}, {"hyperprior": False}], ids=str)
def test_costs_of_the_symbols_are_those_of_the_stream(switches):
    entropy = coding(**switches)
    for scale in (1.0, 1e3):  # without and with escapes
        stream, encoded = entropy.compress(latent(400, scale=scale), 2, 5)
        z, y = entropy.costs(encoded, 2)
        assert z.shape == encoded.z.shape
        assert y.shape == encoded.y_hat.shape
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
    assert encoded.y_hat.dtype == np.float64
    if scale <= 10:  # PyTorch estimates what no stream could hold as well
        estimator = Estimator(TRAINED.gaussian, skip, training=False)
        y_hat, _ = TRAINED(tensor(y), torch.tensor([level]), estimator)
        np.testing.assert_array_equal(encoded.y_hat, y_hat[0])
    np.testing.assert_array_equal(encoded.y_hat, np.rint(encoded.y_hat / STEP) * STEP)
    assert encoded.indexes.min() >= 0
    assert encoded.indexes.max() < SCALES
    # Without a threshold nothing is lost but the rounding, which LRP may move by another half.
    if skip == 0 and scale <= 10:
        assert np.abs(encoded.y_hat - y).max() <= 1.0


def test_values_out_of_range_are_coded_as_the_largest():
    y = np.full((4, 8), 1e30)
    y[:, ::2] *= -1
    stream, encoded = ENTROPY.compress(y, 0, 0)
    assert_same(ENTROPY.decompress(stream, 4, 0, 0), encoded)
    assert set(encoded.symbols.ravel()) == {-SYMBOL_LIMIT, SYMBOL_LIMIT - 1}


def test_levels_code_differently_and_are_not_mistaken_for_each_other():
    y = latent(40)
    streams = [ENTROPY.compress(y, level, 0)[0] for level in range(LEVELS)]
    assert len(set(streams)) == LEVELS
    for level, stream in enumerate(streams):
        for other in set(range(LEVELS)) - {level}:
            with pytest.raises(CodingError):
                ENTROPY.decompress(stream, 40, other, 0)


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
            moved = encoded.y_hat.copy()
            moved[t, c] += STEP
            assert replace(encoded, y_hat=moved).check() != encoded.check()


def test_a_decoder_whose_weights_differ_by_a_step_is_caught():
    entropy = coding()
    stream, _ = entropy.compress(latent(40), 0, 5)
    entropy.lrp_nets[3].last.bias += 2.0**-9
    with pytest.raises(CodingError, match="other symbols"):
        entropy.decompress(stream, 40, 0, 5)


def test_skipped_elements_cost_nothing_and_equal_their_mean():
    trained = tiny_codec(skip=MAX_SKIP, lrp=False)
    for net in trained.entropy.parameter_nets:
        net[-1].weight.zero_()
        net[-1].bias[:2] = 0.25
        net[-1].bias[2:] = -10.0
    y, entropy = latent(40), coder(trained).entropy
    y_hat, bits = trained.entropy(tensor(y), torch.tensor([0]))
    assert bits["slices"].sum() == 0
    assert bits["skipped"] == 1
    assert torch.all(y_hat == 0.25)
    stream, encoded = entropy.compress(y, 0, MAX_SKIP)
    assert (encoded.y_hat == 0.25).all()
    assert 8 * len(stream) <= entropy.costs(encoded, 0)[0].sum() + 24 + 8
    assert len(stream) < len(entropy.compress(y, 0, 0)[0])


def test_a_higher_threshold_skips_more():
    entropy = coding(context=False, taps=[3])  # skipping changes no index
    for net in entropy.parameter_nets:
        net.last.bias[2:] = -3.0  # scales around the thresholds
    y = latent(200, scale=1.0)
    latents = [entropy.compress(y, 0, skip)[1] for skip in range(MAX_SKIP + 1)]
    symbols = [int((kept.symbols != 0).sum()) for kept in latents]
    assert symbols == sorted(symbols, reverse=True)
    assert symbols[0] > symbols[-1]
    for skip, kept in enumerate(latents):
        np.testing.assert_array_equal(kept.indexes, latents[0].indexes)
        expected = np.where(kept.indexes < skip, 0, latents[0].symbols)
        np.testing.assert_array_equal(kept.symbols, expected)
