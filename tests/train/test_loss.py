import torch

from ecc.train.config import LossConfig
from ecc.train.loss import Distortion

X = torch.sin(torch.arange(8000) / 9)[None] * 0.1


def test_equal_signals_have_no_distortion():
    parts = Distortion(LossConfig())(X, X)
    assert all(abs(value.item()) < 1e-6 for value in parts.values())


def test_distortion_grows_with_the_error_and_has_a_gradient():
    distortion = Distortion(LossConfig())
    noise = torch.randn(X.shape, generator=torch.Generator().manual_seed(0))
    near, far = X + 1e-3 * noise, (X + 1e-2 * noise).requires_grad_()
    loss = distortion(X, far)["distortion"]
    assert 0 < distortion(X, near)["distortion"] < loss
    loss.backward()
    assert torch.isfinite(far.grad).all()
    assert far.grad.abs().sum() > 0


def test_phase_alone_is_seen():
    parts = Distortion(LossConfig())(X, -X)
    assert parts["spectrum"] > 0.03 > parts["log_mel"]
