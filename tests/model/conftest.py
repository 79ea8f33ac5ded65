from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from ecc.model.codec import ECC
from ecc.model.config import CodecConfig, EntropyConfig, TransformConfig
from ecc.model.files import ModelFile
from ecc.runtime.codec import Coder

TINY = TransformConfig(
    n_fft=128, hop=64, width=16, hidden=16, analysis_blocks=1, synthesis_blocks=1, channels=8
)
LEVELS = 3
# Outputs that start at zero, of which an untrained codec would have nothing to show.
SILENT = ("shift", "gain", "level", "parameter_nets.", "lrp_nets.")


def raw_codec(
    levels: int = LEVELS, transform: Mapping[str, object] = MappingProxyType({}), **entropy: object
) -> ECC:
    """A small untrained codec, whose slices depend on each other, whose scales vary and whose
    levels differ. Its weights are as training would leave them."""
    torch.manual_seed(0)
    whole: dict[str, object] = {"slices": 4, "width": 16, "z_channels": 4, "taps": [3, 5, 3]}
    config = CodecConfig(
        transform=TINY.model_copy(update=dict(transform)),
        entropy=EntropyConfig(**(whole | entropy)),
        levels=levels,
    )
    codec = ECC(config)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if name.endswith("weight") and any(part in name for part in SILENT):
                parameter.normal_(std=0.2)
            if name == "entropy.h_a.2.weight":
                parameter.mul_(8)  # or z would be 0 throughout
    return codec.eval().requires_grad_(False)


def tiny_codec(levels: int = LEVELS, **switches: object) -> ECC:
    """`raw_codec` ready to code, as `load_model` would give it."""
    codec = raw_codec(levels, **switches)
    codec.update()
    codec.entropy.double()
    return codec


def coder(codec: ECC) -> Coder:
    """What NumPy makes of a codec that is ready to code."""
    arrays = {key: value.numpy() for key, value in codec.state_dict().items()}
    return Coder(ModelFile(Path("tiny"), "tiny", codec.config, [], b"", {}, arrays))


@pytest.fixture
def codec() -> ECC:
    return tiny_codec()
