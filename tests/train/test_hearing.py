import math

import numpy as np
import pytest
import torch
from pesq import pesq

from ecc.evaluate.metrics import METRICS
from ecc.params import HEARD
from ecc.train.config import LossConfig
from ecc.train.hearing import Loudness, Naturalness, Structure
from ecc.train.loss import Distortion


@pytest.fixture(scope="module")
def pairs():
    """Something like voiced speech in phrases, and itself with more and more noise."""
    rng = np.random.default_rng(0)
    t = np.arange(3 * 16000) / 16000
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / 16000
    voice = sum(
        np.sin(k * pitch) / k * (1 + np.sin(2 * np.pi * (2 + k / 9) * t)) for k in range(1, 40)
    )
    phrases = (np.sin(2 * np.pi * 0.6 * t) > -0.3) * voice
    x = 0.03 * phrases + 1e-4 * rng.standard_normal(len(t))
    noises = [1e-4, 1e-3, 3e-3, 1e-2]
    return [
        (x.astype(np.float32), (x + noise * rng.standard_normal(len(t))).astype(np.float32))
        for noise in noises
    ]


def heard(model, pair) -> float:
    return model(*(torch.from_numpy(samples)[None] for samples in pair)).item()


def test_loudness_is_what_pesq_says(pairs):
    for pair in pairs:
        raw = 4.5 - heard(Loudness(), pair)
        expected = 0.999 + 4 / (1 + math.exp(-1.3669 * raw + 3.8224))  # P.862.2
        assert expected == pytest.approx(pesq(16000, *pair, "wb"), abs=0.15)


def test_structure_falls_as_visqol_does(pairs):
    differences = [heard(Structure(), pair) for pair in pairs]
    scores = [METRICS["visqol"].function(*pair) for pair in pairs]
    assert differences == sorted(differences)
    assert scores == sorted(scores, reverse=True)


def test_naturalness_listens_with_the_network_of_dnsmos(pairs):
    dnsmos = METRICS["dnsmos"].function
    model = Naturalness()
    for _, y in pairs:
        window = np.tile(y, 3)  # what the metric listens to
        score = model.responses(torch.from_numpy(window)[None])[-1].item()
        assert score == pytest.approx(dnsmos(window, window), abs=0.1)
    differences = [heard(model, pair) for pair in pairs]
    assert differences == sorted(differences)


@pytest.mark.parametrize("model", [Loudness(), Structure(), Naturalness()])
def test_nothing_is_heard_of_equal_signals_and_gradients_are_numbers(pairs, model):
    x = torch.from_numpy(pairs[0][0])[None]
    assert model(x, x).item() < 1e-3
    for y in (x.clone(), x + 1e-3 * torch.randn_like(x), torch.zeros_like(x)):
        y.requires_grad_()
        model(x, y).sum().backward()
        assert torch.isfinite(y.grad).all()
    silence = torch.zeros_like(x)
    assert torch.isfinite(model(silence, x)).all()


def test_a_louder_copy_is_the_same_to_loudness(pairs):
    x, y = pairs[2]
    assert heard(Loudness(), (x, 2 * y)) == pytest.approx(heard(Loudness(), (x, y)), rel=1e-3)


def test_they_are_part_of_the_distortion_where_they_have_a_weight(pairs):
    x, y = (torch.from_numpy(samples)[None] for samples in pairs[2])
    plain = Distortion(LossConfig())(x, y)
    assert "loudness" not in plain
    parts = Distortion(LossConfig(loudness=0.2, structure=3.0, naturalness=0.5))(x, y)
    assert parts["loudness"].item() == heard(Loudness(), pairs[2])
    added = 0.2 * parts["loudness"] + 3 * parts["structure"] + 0.5 * parts["naturalness"]
    assert parts["distortion"].item() == pytest.approx((plain["distortion"] + added).item())


@pytest.mark.parametrize("name", HEARD)
def test_parameters_are_checked_for_the_shortest_crop_that_is_heard(name):
    model = {"loudness": Loudness, "structure": Structure, "naturalness": Naturalness}[name]()
    crop = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, HEARD[name]))).float()
    assert math.isfinite(model(crop, crop / 2).item())
    with pytest.raises(RuntimeError):
        model(crop[:, 1:], crop[:, 1:] / 2)
