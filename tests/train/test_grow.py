import pytest
import torch
from model.conftest import TINY, raw_codec

from ecc.model.codec import ECC
from ecc.model.config import CodecConfig, EntropyConfig, RvqConfig
from ecc.train.grow import grow


def larger(levels=3, **changes) -> ECC:
    torch.manual_seed(1)
    config = CodecConfig(
        transform=TINY.model_copy(update={"hidden": 2 * TINY.hidden}),
        entropy=EntropyConfig(slices=4, width=16, z_channels=4, **changes),
        levels=levels,
    )
    return ECC(config).eval()


@pytest.mark.parametrize("before", [[3, 3], [3, 5, 3]])
@pytest.mark.parametrize("taps", [[5, 5, 3], [9, 5, 5, 7]])
def test_a_larger_model_computes_the_same(before, taps):
    small, large = raw_codec(taps=before), larger(taps=taps)
    grow(large, small)
    x = torch.randn(2, 4 * large.granule, generator=torch.Generator().manual_seed(0)) / 8
    level = torch.tensor([0, 2])
    (expected, expected_bits), (x_hat, bits) = small(x, level), large(x, level)
    torch.testing.assert_close(x_hat, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(bits["z"], expected_bits["z"])
    torch.testing.assert_close(bits["slices"], expected_bits["slices"], atol=0.01, rtol=1e-3)
    assert sum(p.numel() for p in large.parameters()) > sum(p.numel() for p in small.parameters())


def test_new_levels_are_the_lowest():
    small, large = raw_codec(), larger(levels=5, taps=[3, 5, 3])
    grow(large, small)
    x = torch.randn(1, 4 * large.granule, generator=torch.Generator().manual_seed(0)) / 8
    for level in range(3):
        expected, _ = small(x, torch.tensor([level]))
        torch.testing.assert_close(
            large(x, torch.tensor([level + 2]))[0], expected, atol=1e-4, rtol=0
        )
    gains, before = large.transform.g_a.gain.weight, small.transform.g_a.gain.weight
    torch.testing.assert_close(gains[1], 2 * before[0] - before[1])
    torch.testing.assert_close(gains[0], 2 * gains[1] - before[0])


def test_code_books_go_along():
    rvq = RvqConfig(stages=[1, 2, 3], bits=3)
    small, large = (
        ECC(CodecConfig(transform=transform, rvq=rvq, levels=3)).eval()
        for transform in (TINY, TINY.model_copy(update={"hidden": 2 * TINY.hidden}))
    )
    with torch.no_grad():
        small.entropy.codebooks.normal_()
        small.entropy.counts.uniform_()
    grow(large, small)
    # Entries that seem never to have been used would start again.
    assert torch.equal(large.entropy.counts, small.entropy.counts)
    x = torch.randn(1, 8 * large.granule, generator=torch.Generator().manual_seed(0)) / 8
    level = torch.tensor([2])
    torch.testing.assert_close(large(x, level)[0], small(x, level)[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taps": [3, 3]}, "3 groups of frames cannot become 2"),
        ({"taps": [1, 5, 3]}, "cannot become"),
        ({"taps": [3, 5, 3], "attention": 2}, "has no such layer|cannot become"),
    ],
)
def test_what_cannot_compute_the_same_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        grow(larger(**change), raw_codec())
