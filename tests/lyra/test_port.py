"""The ports against the graphs of their authors, whose own implementations (XNNPACK, TFLite's other
kernels) agree to about 26 dB on speech: they round activations to 8 bits."""

import copy

import numpy as np
import pytest
import torch

from ecc.errors import CodecUnavailable
from ecc.lyra.models import FEATURES, FRAME
from ecc.lyra.port import LyraEncoder, LyraGan
from ecc.lyra.tflite import Convolution, Depthwise, GraphError, StreamingGraph, Transposed


@pytest.fixture(scope="module")
def decoder(lyra_models, lyra_folder):
    return LyraGan(lyra_folder)


@pytest.fixture(scope="module")
def features(lyra_models, voice):
    """[2, 75, 64]"""
    return torch.from_numpy(np.stack([lyra_models.features(voice(1.5, seed)) for seed in (1, 2)]))


def snr(reference, other):
    """dB"""
    return 10 * np.log10(np.sum(reference**2) / np.sum((other - reference) ** 2))


def test_it_is_as_near_to_the_graph_as_its_implementations_are(decoder, lyra_models, features):
    for sequence, samples in zip(features, decoder(features), strict=True):
        expected = lyra_models.synthesize(sequence.numpy())
        assert samples.shape == expected.shape == (75 * FRAME,)
        assert snr(expected, samples.numpy()) > 20


def test_so_is_the_encoder(lyra_models, lyra_folder, voice):
    samples = voice(1.5)
    expected = lyra_models.features(samples)
    features = LyraEncoder(lyra_folder)(torch.from_numpy(samples)[None])[0]
    assert features.shape == expected.shape == (75, FEATURES)
    assert snr(expected, features.numpy()) > 18


def test_sequences_of_a_batch_do_not_depend_on_each_other(decoder, features):
    both = decoder(features)
    for sequence, samples in zip(features, both, strict=True):
        torch.testing.assert_close(decoder(sequence[None])[0], samples, rtol=0, atol=1e-5)


def test_a_frame_changes_no_sample_before_it_and_those_right_after(decoder, features):
    changed = features.clone()
    changed[:, 40] += 1
    difference = (decoder(changed) - decoder(features)).abs()
    assert difference[:, : 40 * FRAME].max() < 1e-6
    assert difference[:, 40 * FRAME :][:, :FRAME].amax(dim=-1).min() > 1e-5


def test_gradients_are_those_of_small_changes(decoder, features):
    decoder = copy.deepcopy(decoder).double()
    x = features[:1, :8].double().requires_grad_()
    weights = torch.linspace(-1, 1, 8 * FRAME, dtype=torch.double)
    (decoder(x) @ weights).sum().backward()
    assert x.grad.abs().amax(dim=(0, 2)).min() > 0  # of every frame
    with torch.no_grad():
        step = 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
        change = (decoder(x + step) - decoder(x - step)) @ weights / 2
    assert (x.grad * step).sum().item() == pytest.approx(change.sum().item(), rel=1e-4)


def test_its_weights_are_neither_trained_nor_saved(decoder):
    assert not list(decoder.parameters())
    assert not decoder.state_dict()
    assert sum(buffer.numel() for buffer in decoder.buffers()) > 600_000


def test_a_graph_of_another_kind_is_refused(lyra_models, lyra_folder):
    with pytest.raises(GraphError, match="not translated"):
        StreamingGraph(lyra_folder / "quantizer.tflite")


def test_other_weights_are_refused(tmp_path):
    for port, file in ((LyraGan, "lyragan"), (LyraEncoder, "soundstream_encoder")):
        for _ in range(2):  # missing, then another file
            with pytest.raises(CodecUnavailable, match=rf"{file}\.tflite is missing or another"):
                port(tmp_path)
            (tmp_path / f"{file}.tflite").write_bytes(b"something else")


def test_a_convolution_is_that_of_pytorch():
    x, weight, bias = torch.randn(2, 21, 12), torch.randn(10, 4, 6), torch.randn(10)
    expected = torch.conv1d(x.mT, weight.mT, bias, stride=2, groups=2).mT
    torch.testing.assert_close(Convolution(weight, bias, groups=2, stride=2)(x), expected)


def test_a_depthwise_convolution_is_that_of_pytorch():
    x, weight, bias = torch.randn(2, 21, 12), torch.randn(3, 12), torch.randn(12)
    expected = torch.conv1d(x.mT, weight.T[:, None], bias, dilation=9, groups=12).mT
    torch.testing.assert_close(Depthwise(weight, bias, dilation=9)(x), expected)


@pytest.mark.parametrize("overlap", [1, 2, 4])
def test_a_transposed_convolution_is_that_of_pytorch(overlap):
    x, weight, bias = torch.randn(2, 7, 12), torch.randn(5, 3 * overlap, 12), torch.randn(5)
    expected = torch.conv_transpose1d(x.mT, weight.permute(2, 0, 1), bias, stride=3).mT
    torch.testing.assert_close(Transposed(weight, bias, stride=3)(x), expected[:, : 7 * 3])
