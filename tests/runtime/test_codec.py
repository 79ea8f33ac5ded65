import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.conftest import LEVELS, TINY, coder, tiny_codec

from ecc.model.config import CHUNK_FRAMES, CONTEXT_FRAMES, MAX_SKIP
from ecc.runtime.codec import Coder

TRAINED = tiny_codec()
CODEC = coder(TRAINED)
STEP = CODEC.transform.samples_per_frame
CHUNK = CHUNK_FRAMES * STEP


def speech(samples: int, seed: int = 0) -> np.ndarray:
    t = np.arange(samples) / 16000
    rng = np.random.default_rng(seed)
    wave = 0.3 * np.sin(2 * np.pi * 180 * t) * np.sin(2 * np.pi * 3 * t)
    return (wave + 0.01 * rng.standard_normal(samples)).astype(np.float32)


def round_trip(x: np.ndarray, level: int = 0, skip: int = 5, codec: Coder = CODEC) -> np.ndarray:
    """What the decoder makes of the streams of x, after a look at their latents."""
    coded = list(codec.compress_chunks(x, level, skip))
    decoded = []
    for (stream, latent), frames in zip(coded, codec.chunks(len(x)), strict=True):
        decoded.append(codec.decompress(stream, frames, level, skip).y_hat)
        np.testing.assert_array_equal(decoded[-1], latent.y_hat)
    return np.concatenate([np.zeros(0), *codec.synthesise_chunks(decoded, len(x), level)])


@settings(max_examples=20)
@given(
    samples=st.integers(0, 6000),
    level=st.integers(0, LEVELS - 1),
    skip=st.integers(0, MAX_SKIP),
)
def test_any_length_comes_back_exactly(samples, level, skip):
    assert round_trip(speech(samples), level, skip).shape == (samples,)


@pytest.mark.parametrize("extra", [-1, 0, 1, 5000])
def test_several_chunks_come_back_exactly(extra):
    samples = CHUNK + extra
    assert round_trip(speech(samples), 1).shape == (samples,)
    assert len(list(CODEC.chunks(samples))) == (1 if extra <= 0 else 2)


@pytest.mark.parametrize(
    "switches",
    [{"hyperprior": False}, {"context": False}, {"lrp": False}, {"attention": 0}, {"z_stride": 1}],
    ids=str,
)
def test_ablations_go_through_real_streams(switches):
    codec = coder(tiny_codec(levels=1, **switches))
    x = speech(3001)
    for skip in (0, 5, MAX_SKIP):
        assert round_trip(x, 0, skip, codec).shape == x.shape


@given(st.integers(0, 10 * CHUNK))
def test_layout_follows_from_the_length(samples):
    chunks = list(CODEC.chunks(samples))
    assert len(chunks) == CODEC.count_chunks(samples)
    assert all(frames == CHUNK_FRAMES for frames in chunks[:-1])
    assert all(0 < frames <= CHUNK_FRAMES and frames % 4 == 0 for frames in chunks)
    assert samples <= sum(chunks) * STEP < samples + CODEC.granule


def local_codec() -> Coder:
    """Attention sees a whole chunk; without it the receptive field is shorter than the context."""
    codec = coder(tiny_codec(attention=0))
    for network in (codec.transform.g_a, codec.transform.g_s):
        del network.trunk.layers[1:]
    return codec


def test_chunks_join_as_if_coded_at_once(monkeypatch):
    codec = local_codec()
    x = speech(200 * STEP)
    whole = np.concatenate(list(codec.analyse_chunks(x, 1)))
    (at_once,) = codec.synthesise_chunks([whole], len(x), 1)
    monkeypatch.setattr("ecc.runtime.codec.CHUNK_FRAMES", 64)
    parts = list(codec.analyse_chunks(x, 1))
    assert [len(part) for part in parts] == [64, 64, 64, 8]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4, rtol=1e-4)
    joined = np.concatenate(list(codec.synthesise_chunks(parts, len(x), 1)))
    np.testing.assert_allclose(joined, at_once, atol=1e-4, rtol=1e-4)
    assert CONTEXT_FRAMES < 64


@pytest.mark.parametrize("missing", [{0}, {1}, {3}, {0, 3}, {1, 2}, {0, 1, 2, 3}], ids=str)
def test_a_missing_chunk_is_silent_and_the_others_are_as_they_were(monkeypatch, missing):
    codec = local_codec()
    monkeypatch.setattr("ecc.runtime.codec.CHUNK_FRAMES", 64)
    x = speech(200 * STEP - 7)
    latents = list(codec.analyse_chunks(x, 0))
    whole = list(codec.synthesise_chunks(latents, len(x), 0))
    kept = [None if i in missing else latent for i, latent in enumerate(latents)]
    parts = list(codec.synthesise_chunks(kept, len(x), 0))
    assert [len(part) for part in parts] == [len(part) for part in whole]
    assert sum(len(part) for part in parts) == len(x)
    edge = CONTEXT_FRAMES * STEP
    for i, (part, expected) in enumerate(zip(parts, whole, strict=True)):
        if i in missing:
            assert not part.any()
            continue
        assert part.any()
        # Without a neighbour it is that edge alone that may sound otherwise.
        first = edge if i - 1 in missing else 0
        last = len(part) - edge if i + 1 in missing else len(part)
        np.testing.assert_allclose(part[first:last], expected[first:last], atol=1e-4, rtol=1e-4)


def test_nothing_before_a_gap_sounds_behind_it(monkeypatch):
    codec = local_codec()
    monkeypatch.setattr("ecc.runtime.codec.CHUNK_FRAMES", 64)
    first, _, third, *_ = codec.analyse_chunks(speech(192 * STEP), 0)
    with_first = list(codec.synthesise_chunks([first, None, third], 192 * STEP, 0))
    without = list(codec.synthesise_chunks([None, None, third], 192 * STEP, 0))
    np.testing.assert_array_equal(with_first[2], without[2])


def test_latents_are_read_one_at_a_time(monkeypatch):
    monkeypatch.setattr("ecc.runtime.codec.CHUNK_FRAMES", 64)
    read = []

    def latents():
        for i in range(5):
            read.append(i)
            yield np.zeros((64, TINY.channels))

    parts = CODEC.synthesise_chunks(latents(), 5 * 64 * STEP, 0)
    next(parts)
    assert read == [0, 1]
    assert len(list(parts)) == 4


@pytest.mark.parametrize(
    "x",
    [
        np.zeros(3000, np.float32),
        np.ones(3000, np.float32),
        np.random.default_rng(0).standard_normal(3000).clip(-1, 1).astype(np.float32),
        np.full(7, -1, np.float32),
        np.full(3000, 1e6, np.float32),
    ],
    ids=["silence", "dc", "noise", "short", "loud"],
)
def test_extreme_signals_stay_finite(x):
    x_hat = round_trip(x)
    assert x_hat.shape == x.shape
    assert np.isfinite(x_hat).all()


def test_estimate_is_that_of_the_streams():
    x = speech(60000)
    for level in range(LEVELS):
        for skip in (CODEC.config.entropy.skip, 12):
            chunks = list(CODEC.compress_chunks(x, level, skip))
            real = 8 * sum(len(stream) for stream, _ in chunks)
            estimated = sum(
                TRAINED.entropy.likelihood_bits(said.z, said.symbols, said.indexes, level, skip)
                for _, said in chunks
            )
            assert real == pytest.approx(estimated, rel=0.02)


@pytest.mark.parametrize("projections", [0, 3])
def test_the_transform_is_that_of_pytorch(projections):
    trained = tiny_codec(transform={"decoder_projections": projections}).double()
    transform, x = coder(trained).transform, speech(48 * STEP).astype(np.float64)
    for level in range(LEVELS):
        levels = torch.tensor([level])
        y = transform.analyse(x, level)
        expected = trained.transform.analyse(torch.from_numpy(x)[None], levels)[0]
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12 * np.abs(y).max())
        x_hat = transform.synthesise(y, level)
        expected = trained.transform.synthesise(torch.from_numpy(y)[None], levels)[0]
        np.testing.assert_allclose(x_hat, expected, rtol=0, atol=1e-9)
