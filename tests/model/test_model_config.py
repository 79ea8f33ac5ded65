import pytest
import torch

from ecc.model.codec import ECC
from ecc.model.config import CodecConfig

TINY = {"n_fft": 128, "hop": 64, "width": 16, "hidden": 16, "channels": 8}
ENTROPY = {"slices": 2, "width": 16, "z_channels": 4}
LYRA = {"kind": "lyra", "synthesis_blocks": 0}
TOKENS = {"codebooks": "lyra", "bits": 4, "tokens": {}, "stages": [1]}


def build(*patches: dict) -> CodecConfig:
    """A small configuration, each section of which has been patched."""
    sections: dict = {"transform": TINY, "entropy": ENTROPY}
    for patch in patches:
        sections |= {
            k: {**sections.get(k, {}), **v} if isinstance(v, dict) else v for k, v in patch.items()
        }
    return CodecConfig.model_validate(sections)


RVQ = {"rvq": {"stages": [1, 2], "bits": 3}, "levels": 2}
WITHOUT = {"transform": {**LYRA, "analysis_blocks": 0, "channels": 64, "hop": 160}}


@pytest.mark.parametrize(
    ("base", "patch"),
    [
        ({}, {"rvq": {"bits": 5, "decay": 0.9, "commitment": 0.5}}),
        ({}, {"transform": {"tune_decoder": True}}),
        (RVQ, {"entropy": {"slices": 4, "z_stride": 2, "skip": 0}}),
    ],
)
def test_what_a_model_does_not_have_changes_nothing_of_it(base: dict, patch: dict) -> None:
    configs = build(base), build(base, patch)
    assert configs[0] != configs[1]
    assert configs[0].relevant() == configs[1].relevant()
    states = []
    for config in configs:
        torch.manual_seed(0)
        states.append(ECC(config).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    ("base", "patch", "same"),
    [
        ({}, {"entropy": {"slices": 4}}, False),
        ({}, {"transform": {"decoder_projections": 3}}, False),
        (RVQ, {"rvq": {"decay": 0.9}}, False),
        (RVQ, {"rvq": {"stages": [1, 3]}}, False),
        (WITHOUT, {"transform": {"n_fft": 256, "width": 32, "projections": 2}}, True),
        (WITHOUT, {"transform": {"tune_decoder": True}}, False),
        (
            {"transform": {**LYRA, "hop": 160}},
            {"transform": {"n_fft": 256}},
            False,
        ),  # it has blocks
        ({**WITHOUT, "rvq": TOKENS}, {"rvq": {"decay": 0.9, "commitment": 0}}, True),
        ({**WITHOUT, "rvq": TOKENS}, {"rvq": {"tokens": {"width": 8}}}, False),
    ],
)
def test_what_a_model_has_counts(base: dict, patch: dict, same: bool) -> None:
    assert (build(base).relevant() == build(base, patch).relevant()) is same


def test_a_model_is_built_from_what_is_relevant() -> None:
    for base in ({}, RVQ):
        config = build(base)
        assert CodecConfig.model_validate(config.relevant()).relevant() == config.relevant()
