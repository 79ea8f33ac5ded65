import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model.conftest import LEVELS, TINY, tiny_codec

from ecc.model.codec import CHUNK_FRAMES, CONTEXT_FRAMES, ECC
from ecc.model.config import MAX_SKIP, CodecConfig, EntropyConfig

CODEC = tiny_codec()
STEP = CODEC.transform.samples_per_frame
CHUNK = CHUNK_FRAMES * STEP


def speech(samples: int, seed: int = 0) -> torch.Tensor:
    t = np.arange(samples) / 16000
    rng = np.random.default_rng(seed)
    wave = 0.3 * np.sin(2 * np.pi * 180 * t) * np.sin(2 * np.pi * 3 * t)
    return torch.tensor(wave + 0.01 * rng.standard_normal(samples), dtype=torch.float32)


def round_trip(x: torch.Tensor, level: int = 0, skip: int = 5, codec: ECC = CODEC) -> torch.Tensor:
    """What the decoder makes of the streams of x, after a look at their latents."""
    coded = list(codec.compress_chunks(x, level, skip))
    decoded = []
    for (stream, latent), frames in zip(coded, codec.chunks(len(x)), strict=True):
        decoded.append(codec.decompress(stream, frames, level, skip).y_hat)
        assert torch.equal(decoded[-1], latent.y_hat)
    parts = list(codec.synthesise_chunks(decoded, len(x), level))
    return torch.cat(parts) if parts else torch.zeros(0)


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
    codec = tiny_codec(levels=1, **switches)
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


def local_codec() -> ECC:
    """Attention sees a whole chunk; without it the receptive field is shorter than the context."""
    codec = tiny_codec(attention=0)
    for module in (codec.transform.g_a, codec.transform.g_s):
        module.trunk = torch.nn.Sequential(*list(module.trunk)[:1])
    return codec


def test_chunks_join_as_if_coded_at_once(monkeypatch):
    codec = local_codec()
    x = speech(200 * STEP)
    whole = torch.cat(list(codec.analyse_chunks(x, 1)), dim=1)
    (at_once,) = codec.synthesise_chunks([whole], len(x), 1)
    monkeypatch.setattr("ecc.model.codec.CHUNK_FRAMES", 64)
    parts = list(codec.analyse_chunks(x, 1))
    assert [part.shape[1] for part in parts] == [64, 64, 64, 8]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=1e-4)
    joined = torch.cat(list(codec.synthesise_chunks(parts, len(x), 1)))
    torch.testing.assert_close(joined, at_once, atol=1e-4, rtol=1e-4)
    assert CONTEXT_FRAMES < 64


@pytest.mark.parametrize("missing", [{0}, {1}, {3}, {0, 3}, {1, 2}, {0, 1, 2, 3}], ids=str)
def test_a_missing_chunk_is_silent_and_the_others_are_as_they_were(monkeypatch, missing):
    codec = local_codec()
    monkeypatch.setattr("ecc.model.codec.CHUNK_FRAMES", 64)
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
        torch.testing.assert_close(part[first:last], expected[first:last], atol=1e-4, rtol=1e-4)


def test_nothing_before_a_gap_sounds_behind_it(monkeypatch):
    codec = local_codec()
    monkeypatch.setattr("ecc.model.codec.CHUNK_FRAMES", 64)
    first, _, third, *_ = codec.analyse_chunks(speech(192 * STEP), 0)
    with_first = list(codec.synthesise_chunks([first, None, third], 192 * STEP, 0))
    without = list(codec.synthesise_chunks([None, None, third], 192 * STEP, 0))
    assert torch.equal(with_first[2], without[2])


def test_latents_are_read_one_at_a_time(monkeypatch):
    monkeypatch.setattr("ecc.model.codec.CHUNK_FRAMES", 64)
    read = []

    def latents():
        for i in range(5):
            read.append(i)
            yield torch.zeros(1, 64, TINY.channels, dtype=torch.float64)

    parts = CODEC.synthesise_chunks(latents(), 5 * 64 * STEP, 0)
    next(parts)
    assert read == [0, 1]
    assert len(list(parts)) == 4


def test_levels_share_the_networks_and_differ_in_what_they_code():
    x = speech(64 * STEP)
    latents = [torch.cat(list(CODEC.analyse_chunks(x, level)), dim=1) for level in range(LEVELS)]
    assert not torch.equal(latents[0], latents[1])
    y_hat = latents[0].float()
    one, other = (CODEC.transform.synthesise(y_hat, torch.tensor([level])) for level in (0, 1))
    assert not torch.equal(one, other)


def test_a_gain_scales_the_latent_and_is_undone():
    codec = tiny_codec()
    for table in (codec.transform.g_a.shift, codec.transform.g_s.shift):
        table.weight.zero_()
    gain = codec.transform.g_a.gain
    codec.transform.g_s.gain.weight.copy_(gain.weight)
    x = speech(64 * STEP)[None].repeat(LEVELS, 1)
    y = codec.transform.analyse(x, torch.arange(LEVELS))
    torch.testing.assert_close(
        y[1] / y[0], torch.exp(gain.weight[1] - gain.weight[0]).expand(64, 8)
    )
    x_hat = codec.transform.synthesise(y, torch.arange(LEVELS))
    torch.testing.assert_close(x_hat[1:], x_hat[:1].repeat(LEVELS - 1, 1), atol=1e-4, rtol=1e-4)


def test_a_batch_of_levels_is_as_each_alone():
    x = torch.stack([speech(16 * STEP, seed) for seed in range(LEVELS)])
    codec = tiny_codec()
    codec.entropy.float()
    x_hat, bits = codec(x, torch.arange(LEVELS))
    for level in range(LEVELS):
        alone, alone_bits = codec(x[level : level + 1], torch.tensor([level]))
        torch.testing.assert_close(alone[0], x_hat[level], atol=1e-4, rtol=1e-4)
        assert codec.kbps(alone_bits, 16 * STEP).item() == pytest.approx(
            codec.kbps(bits, 16 * STEP)[level].item(), rel=1e-4
        )


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(3000),
        torch.ones(3000),
        torch.randn(3000, generator=torch.Generator().manual_seed(0)).clamp(-1, 1),
        torch.full((7,), -1.0),
        torch.full((3000,), 1e6),
    ],
    ids=["silence", "dc", "noise", "short", "loud"],
)
def test_extreme_signals_stay_finite(x):
    x_hat = round_trip(x)
    assert x_hat.shape == x.shape
    assert torch.isfinite(x_hat).all()


def test_estimate_is_that_of_the_streams():
    x = speech(60000)
    for level in range(LEVELS):
        for skip in (CODEC.config.entropy.skip, 12):
            chunks = list(CODEC.compress_chunks(x, level, skip))
            real = 8 * sum(len(stream) for stream, _ in chunks)
            assert real == pytest.approx(sum(latent.estimated for _, latent in chunks), rel=0.02)


def test_a_stride_that_does_not_divide_a_chunk_is_refused():
    with pytest.raises(ValueError, match="z_stride must divide 1024"):
        ECC(CodecConfig(transform=TINY, entropy=EntropyConfig(z_stride=3)))


def test_transform_without_networks_inverts():
    x = speech(64 * STEP)[None]
    spectrum = CODEC.transform.spectrum
    torch.testing.assert_close(spectrum.inverse(spectrum(x)), x, atol=1e-5, rtol=1e-4)
