"""Muon: momentum whose updates are orthogonal matrices (Jordan et al., "Muon", 2024).

`torch.optim.Muon` does the same, matrix by matrix, and in bfloat16 whatever the processor: where
that is emulated a step takes minutes.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

# Of the quintic that carries singular values towards 1, as in Jordan's code.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised. Updates have the mean size of those of Adam (0.2 of the
    learning rate for each weight), so that both take the same learning rate.

    Args:
        params: matrices.
        lr: learning rate.
        momentum: decay of the average of the gradients.
        dtype: in which matrices are multiplied; bfloat16 is enough.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.0,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all matrices that have a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, alike in by_shape.items():
                averages = [self._average(p) for p in alike]
                gradients = [p.grad for p in alike if p.grad is not None]
                torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
                ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
                updates = orthogonalise(torch.stack(list(ahead)).to(self.dtype)).to(alike[0])
                size = 0.2 * math.sqrt(max(shape))
                torch._foreach_add_(alike, list(updates.unbind()), alpha=-size * group["lr"])

    def _average(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        average: Tensor = state["momentum_buffer"]
        return average


def orthogonalise(x: Tensor) -> Tensor:
    """Matrices [N, rows, columns] -> those with the same singular vectors and singular values of
    about 1 (0.7 to 1.2, but for those that were below some thousandths of the norm), by
    Newton-Schulz iteration."""
    a, b, c = COEFFICIENTS
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(STEPS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
