import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.conftest import tiny_codec

from ecc.model.codec import CHUNK_FRAMES, CONTEXT_FRAMES

CODEC = tiny_codec()
STEP = CODEC.transform.samples_per_frame


def speech(samples: int, seed: int = 0) -> torch.Tensor:
    t = np.arange(samples) / 16000
    rng = np.random.default_rng(seed)
    wave = 0.3 * np.sin(2 * np.pi * 180 * t) * np.sin(2 * np.pi * 3 * t)
    return torch.tensor(wave + 0.01 * rng.standard_normal(samples), dtype=torch.float32)


def round_trip(x: torch.Tensor, skip: int = 5) -> torch.Tensor:
    streams = list(CODEC.compress_chunks(x, skip))
    parts = list(CODEC.decompress_chunks(streams, len(x), skip))
    return torch.cat(parts) if parts else torch.zeros(0)


@settings(max_examples=15)
@given(samples=st.integers(0, 6000))
def test_any_length_comes_back_exactly(samples):
    assert round_trip(speech(samples)).shape == (samples,)


@pytest.mark.parametrize("extra", [-1, 0, 1, 5000])
def test_several_chunks_come_back_exactly(extra):
    samples = CHUNK_FRAMES * STEP + extra
    x_hat = round_trip(speech(samples))
    assert x_hat.shape == (samples,)
    assert len(CODEC.chunks(samples)) == (1 if extra <= 0 else 2)


def test_chunks_join_as_if_coded_at_once(monkeypatch):
    # Attention sees a whole chunk; without it the receptive field is shorter than the context.
    codec = tiny_codec(attention=0)
    for module in (codec.transform.g_a, codec.transform.g_s):
        module.trunk = torch.nn.Sequential(*list(module.trunk)[:1])
    x = speech(200 * STEP)
    whole = torch.cat(list(codec.latents(x)), dim=1)
    at_once = codec.transform.synthesise(whole)[0]
    monkeypatch.setattr("ecc.model.codec.CHUNK_FRAMES", 64)
    parts = list(codec.latents(x))
    assert len(parts) == 4
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=1e-4)
    decoded = iter(parts)
    monkeypatch.setattr(codec.entropy, "decompress", lambda *_: next(decoded))
    joined = torch.cat(list(codec.decompress_chunks([b""] * 4, len(x), 0)))
    torch.testing.assert_close(joined, at_once, atol=1e-4, rtol=1e-4)
    assert CONTEXT_FRAMES < 64


@pytest.mark.parametrize(
    "x",
    [torch.zeros(3000), torch.ones(3000), torch.randn(3000).clamp(-1, 1), torch.full((7,), -1.0)],
    ids=["silence", "dc", "noise", "short"],
)
def test_extreme_signals_stay_finite(x):
    x_hat = round_trip(x)
    assert x_hat.shape == x.shape
    assert torch.isfinite(x_hat).all()


def test_estimate_is_that_of_the_streams():
    x = speech(60000)
    real = 8 * sum(len(chunk) for chunk in CODEC.compress_chunks(x, CODEC.config.entropy.skip))
    assert real == pytest.approx(CODEC.estimated_bits(x), rel=0.02)


def test_missing_chunk_is_an_error():
    with pytest.raises(ValueError, match="0 chunks where 1"):
        list(CODEC.decompress_chunks([], 100, 5))


def test_transform_without_networks_inverts():
    x = speech(64 * STEP)[None]
    spectrum = CODEC.transform.spectrum
    torch.testing.assert_close(spectrum.inverse(spectrum(x)), x, atol=1e-5, rtol=1e-4)
