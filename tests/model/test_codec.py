import numpy as np
import pytest
import torch
from model.conftest import LEVELS, TINY, tiny_codec

from ecc.model.codec import ECC
from ecc.model.config import CodecConfig, EntropyConfig

CODEC = tiny_codec()
STEP = CODEC.transform.samples_per_frame


def speech(samples: int, seed: int = 0) -> torch.Tensor:
    t = np.arange(samples) / 16000
    rng = np.random.default_rng(seed)
    wave = 0.3 * np.sin(2 * np.pi * 180 * t) * np.sin(2 * np.pi * 3 * t)
    return torch.tensor(wave + 0.01 * rng.standard_normal(samples), dtype=torch.float32)


def test_levels_share_the_networks_and_differ_in_what_they_code():
    x = speech(64 * STEP)[None]
    latents = [CODEC.transform.analyse(x, torch.tensor([level])) for level in range(LEVELS)]
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


def test_a_stride_that_does_not_divide_a_chunk_is_refused():
    with pytest.raises(ValueError, match="z_stride must divide 1024"):
        ECC(CodecConfig(transform=TINY, entropy=EntropyConfig(z_stride=3)))


def test_transform_without_networks_inverts():
    x = speech(64 * STEP)[None]
    spectrum = CODEC.transform.spectrum
    torch.testing.assert_close(spectrum.inverse(spectrum(x)), x, atol=1e-5, rtol=1e-4)
