"""Muon: momentum whose updates are orthogonal matrices (Jordan et al., "Muon", 2024).

`torch.optim.Muon` does the same, matrix by matrix, and in bfloat16 whatever the processor: where
that is emulated a step takes minutes.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# Of the quintics that carry singular values towards 1, one after the other: the first four of
# Amsel et al., "The Polar Express" (2025), which take small ones as far as five of Jordan's do.
QUINTICS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised. Updates have the mean size of those of Adam (0.2 of the
    learning rate for each weight), so that both take the same learning rate.

    Args:
        params: matrices, or groups of them; a group's `parts` says how many matrices lie side by
            side in one, such as the taps of a convolution, each of which is orthogonalised alone.
        lr: learning rate.
        momentum: decay of the average of the gradients.
        dtype: in which matrices are multiplied; bfloat16 is enough.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.0,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "parts": 1})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all matrices that have a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for (rows, columns), alike in by_shape.items():
                averages = [self._average(p) for p in alike]
                gradients = [p.grad for p in alike if p.grad is not None]
                torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
                ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
                stacked = torch.stack(list(ahead)).to(self.dtype)
                apart = stacked.unflatten(2, (group["parts"], -1)).transpose(1, 2)
                updates = orthogonalise(apart.flatten(0, 1)).to(alike[0])
                updates = updates.view(apart.shape).transpose(1, 2).reshape(stacked.shape)
                size = 0.2 * math.sqrt(max(rows, columns // group["parts"]))
                torch._foreach_add_(alike, list(updates.unbind()), alpha=-size * group["lr"])

    def _average(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        average: Tensor = state["momentum_buffer"]
        return average


def orthogonalise(x: Tensor) -> Tensor:
    """Matrices [N, rows, columns] -> those with the same singular vectors and singular values of
    about 1 (0.4 to 1.6, but for those that were below some thousandths of the norm), by
    Newton-Schulz iteration."""
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (1.01 * x.norm(dim=(1, 2), keepdim=True)).clamp_min(1e-7)
    for a, b, c in QUINTICS:
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x
