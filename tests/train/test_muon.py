import pytest
import torch

from ecc.train import muon
from ecc.train.muon import Muon, orthogonalise

SHAPES = [(12, 20), (20, 12), (12, 20), (8, 8)]


def with_gradients(seed):
    generator = torch.Generator().manual_seed(seed)
    matrices = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    for matrix in matrices:
        matrix.grad = torch.randn(matrix.shape, generator=generator)
    return matrices


@pytest.mark.parametrize("shape", [(3, 24, 40), (3, 40, 24), (1, 16, 16)])
def test_singular_vectors_stay_and_singular_values_become_about_one(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    diagonal = u.mT @ orthogonalise(x) @ vh.mT
    values = torch.diagonal(diagonal, dim1=1, dim2=2)
    off = diagonal - torch.diag_embed(values)
    assert off.abs().max() < 1e-4
    large = s > 0.05 * s.square().sum(dim=-1, keepdim=True).sqrt()
    assert large.sum() > 0.7 * large.numel()
    assert values[large].min() > 0.4 and values[large].max() < 1.6


def test_steps_are_those_of_torch_up_to_the_precision(monkeypatch):
    monkeypatch.setattr(muon, "QUINTICS", ((3.4445, -4.7750, 2.0315),) * 5)  # as torch has them
    ours, theirs = with_gradients(0), with_gradients(0)
    before = [matrix.detach().clone() for matrix in ours]
    optimizer = Muon(ours, lr=0.1)
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for seed in (1, 2):
        for mine, other, gradient in zip(ours, theirs, with_gradients(seed), strict=True):
            mine.grad, other.grad = gradient.grad.clone(), gradient.grad.clone()
        optimizer.step()
        reference.step()
    for mine, other, start in zip(ours, theirs, before, strict=True):
        assert (mine - other).norm() < 0.05 * (mine - start).norm()


def test_what_has_no_gradient_stays():
    matrices = with_gradients(0)
    matrices[0].grad = None
    before = [matrix.detach().clone() for matrix in matrices]
    Muon(matrices, lr=0.1).step()
    moved = [not torch.equal(a, b) for a, b in zip(matrices, before, strict=True)]
    assert moved == [False, True, True, True]


def test_matrices_side_by_side_are_those_apart():
    joined = torch.nn.Parameter(torch.zeros(8, 36))
    parts = [torch.nn.Parameter(torch.zeros(8, 12)) for _ in range(3)]
    joined.grad = torch.randn(joined.shape, generator=torch.Generator().manual_seed(0))
    for part, gradient in zip(parts, joined.grad.chunk(3, dim=1), strict=True):
        part.grad = gradient
    Muon([{"params": [joined], "parts": 3}], lr=0.1).step()
    Muon(parts, lr=0.1).step()
    torch.testing.assert_close(joined, torch.cat(parts, dim=1))
