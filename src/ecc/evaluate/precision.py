"""In which precision what metrics are given is computed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float64() -> Iterator[None]:
    """What torch and torchaudio make in it, filters and windows, is float64: the same on every
    machine but for digits that no table shows."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
