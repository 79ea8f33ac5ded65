"""CompressAI's entropy models, without the rest of its package and without its coder.

`import compressai` imports PyTorch Geometric and all else that any of its models might need, which
takes longer than PyTorch itself. While these are imported its package is empty here; whoever
imports it later has all of it.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _NoCoder:
    """In the place of CompressAI's coder: that of `ecc.model.rans` is used."""

    def __init__(self, name: str) -> None:
        self.name = name


@contextmanager
def _bare_package() -> Iterator[None]:
    spec = importlib.util.find_spec("compressai")
    if "compressai" in sys.modules or spec is None:
        yield
        return
    sys.modules["compressai"] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        ours = {
            name: sys.modules.pop(name)
            for name in list(sys.modules)
            if name.partition(".")[0] == "compressai"
        }
    # A model asks the package for its coder each time that one is made.
    vars(ours["compressai.entropy_models.entropy_models"]).update(
        default_entropy_coder=lambda: "none", _EntropyCoder=_NoCoder
    )


with _bare_package():
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.ops import LowerBound

__all__ = ["EntropyBottleneck", "GaussianConditional", "LowerBound"]
