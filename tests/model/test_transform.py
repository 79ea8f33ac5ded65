import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecc.model.config import TransformConfig
from ecc.model.transform import Spectrum, Transform

SPECTRUM = Spectrum(n_fft=640, hop=160)


def invented(frames: int, seed: int) -> torch.Tensor:
    """Magnitudes of noise with phases of other noise: no signal has this spectrum."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, frames * 160, generator=generator)
    phase = 2 * math.pi * torch.rand(1, frames, 321, generator=generator)
    return torch.polar(SPECTRUM(x).abs(), phase)


def misfit(spectrum: torch.Tensor) -> float:
    """How far the magnitudes of the samples are from those of the spectrum."""
    heard = SPECTRUM(SPECTRUM.inverse(spectrum))
    return ((heard.abs() - spectrum.abs()) ** 2).sum().item()


def test_in_float64_the_window_is_too():
    x = torch.zeros(1, 1600, dtype=torch.double)
    x[0, 800] = 1  # in the middle of a frame the window is 1 and the spectrum that of a pulse
    spectrum = SPECTRUM(x)[0, 5].abs()
    torch.testing.assert_close(spectrum, torch.ones_like(spectrum), rtol=0, atol=1e-15)
    x = x.roll(13, dims=1)
    expected = math.cos(math.pi * 13 / 640) ** 2
    torch.testing.assert_close(SPECTRUM(x)[0, 5].abs(), 0 * spectrum + expected, rtol=0, atol=1e-15)


def test_what_is_first_used_in_inference_can_be_trained():
    spectrum = Spectrum(n_fft=128, hop=32)
    with torch.inference_mode():
        spectrum.inverse(spectrum(torch.zeros(1, 320)))
    x = torch.randn(1, 320, requires_grad=True)
    spectrum.inverse(spectrum(x)).square().sum().backward()
    assert x.grad is not None


@settings(max_examples=20)
@given(frames=st.integers(8, 60), seed=st.integers(0, 99))
def test_a_projection_keeps_magnitudes_and_makes_them_fit(frames, seed):
    spectrum = invented(frames, seed)
    projected = SPECTRUM.project(spectrum, 1)
    # But for bins of which nothing is left, where there is no phase to take.
    changed = (projected.abs() - spectrum.abs()).norm() / spectrum.norm()
    assert changed < 1e-3
    # Griffin and Lim, 1984: no step makes it worse; the first from random phases is a large one.
    assert misfit(projected) < 0.8 * misfit(spectrum)


def test_a_projection_changes_no_real_signal():
    x = torch.randn(1, 30 * 160, generator=torch.Generator().manual_seed(0))
    spectrum = SPECTRUM(x)
    projected = SPECTRUM.inverse(SPECTRUM.project(spectrum, 1))
    torch.testing.assert_close(projected, SPECTRUM.inverse(spectrum), rtol=0, atol=1e-3)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_gradients_go_through_projections(fill):
    spectrum = torch.full((1, 8, 321), fill, dtype=torch.complex64, requires_grad=True)
    SPECTRUM.inverse(SPECTRUM.project(spectrum, 1)).square().sum().backward()
    assert spectrum.grad is not None and spectrum.grad.isfinite().all()


def test_more_steps_fit_better():
    spectrum = invented(40, 0)
    misfits = [misfit(SPECTRUM.project(spectrum, steps)) for steps in (0, 1, 4, 16)]
    assert misfits == sorted(misfits, reverse=True)
    assert misfits[-1] < 0.5 * misfits[1]


def test_training_and_decoder_do_as_many_projections_as_they_are_told():
    config = TransformConfig(width=8, hidden=8, channels=4, projections=1, decoder_projections=3)
    transform = Transform(config, levels=1)
    y_hat, level = torch.randn(1, 8, 4), torch.tensor([0])
    for training, steps in ((True, 1), (False, 3)):
        transform.train(training)
        spectrum = transform.spectrum.project(transform.g_s(y_hat, level), steps)
        expected = transform.spectrum.inverse(spectrum)
        torch.testing.assert_close(transform.synthesise(y_hat, level), expected)
