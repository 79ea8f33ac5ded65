import pytest
import torch

from ecc.model.codec import ECC
from ecc.model.config import CodecConfig, EntropyConfig, TransformConfig

TINY = TransformConfig(
    n_fft=128, hop=64, width=16, hidden=16, analysis_blocks=1, synthesis_blocks=1, channels=8
)


def tiny_codec(**entropy: object) -> ECC:
    """A small untrained codec whose slices depend on each other and whose scales vary."""
    torch.manual_seed(0)
    config = CodecConfig(
        transform=TINY,
        entropy=EntropyConfig(**({"slices": 4, "width": 16, "z_channels": 4} | entropy)),
    )
    codec = ECC(config)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if ("parameter_nets" in name or "lrp_nets" in name) and name.endswith("4.weight"):
                parameter.normal_(std=0.1)
    codec.eval().requires_grad_(False)
    codec.update()
    return codec


@pytest.fixture
def codec() -> ECC:
    return tiny_codec()
