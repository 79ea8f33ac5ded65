import pytest
import torch
from model.conftest import TINY

from ecc.model.codec import ECC
from ecc.model.config import CodecConfig, RvqConfig, TokenConfig
from ecc.model.rvq import ResidualVectorQuantizer

STAGES = [1, 2, 4]
BITS = 5
TOKENS = TokenConfig(width=16, taps=3)


def raw_codec(tokens: TokenConfig | None = None) -> ECC:
    """A small untrained codec with residual vector quantization; its code books are finer and
    finer noise, and its token model prefers some entries to others."""
    torch.manual_seed(0)
    rvq = RvqConfig(stages=STAGES, bits=BITS, tokens=tokens)
    codec = ECC(CodecConfig(transform=TINY, rvq=rvq, levels=len(STAGES)))
    with torch.no_grad():
        scales = 0.5 ** torch.arange(max(STAGES))
        codec.entropy.codebooks.normal_().mul_(scales[:, None, None])
        for name, parameter in codec.named_parameters():
            if ".tokens." in name:
                parameter.normal_(std=0.2)
    return codec.eval().requires_grad_(False)


def quantizer(tokens: TokenConfig | None = None) -> ResidualVectorQuantizer:
    """That of `raw_codec`, ready to code, as `load_model` would give it."""
    codec = raw_codec(tokens)
    codec.update()
    return codec.entropy.double()


def latent(frames: int, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(1, frames, TINY.channels, generator=torch.Generator().manual_seed(seed))
    return noise.double()


QUANTIZERS = {"plain": quantizer(), "coded": quantizer(TOKENS)}


def test_all_levels_code_one_y_even_after_training():
    codec = ECC(raw_codec().config).train()
    x = torch.randn(3, 40 * codec.granule)
    optimizer = torch.optim.SGD([p for p in codec.parameters() if p.requires_grad], 0.1)
    x_hat, bits = codec(x, torch.tensor([0, 1, 2]))
    (x_hat.square().mean() + bits["commitment"]).backward()
    optimizer.step()
    with torch.no_grad():
        lowest, _, highest = (codec.transform.analyse(x[:1], torch.tensor([n])) for n in range(3))
    assert torch.equal(lowest, highest)


def test_gradient_goes_through_the_quantizer_and_commitment_draws_y_to_it():
    rvq = raw_codec().entropy
    y = latent(20).float().requires_grad_()
    y_hat, bits = rvq(y, torch.tensor([1]))
    y_hat.sum().backward(retain_graph=True)
    assert torch.equal(y.grad, torch.ones_like(y))
    y.grad = None
    bits["commitment"].backward()
    moved = (y - 0.1 * y.numel() * y.grad).detach()
    errors = [(v - rvq(v, torch.tensor([1]))[0]).square().mean() for v in (y.detach(), moved)]
    assert errors[1] < errors[0]


def test_code_books_learn_what_they_code_and_no_entry_stays_idle():
    torch.manual_seed(1)
    rvq = ResidualVectorQuantizer(RvqConfig(stages=[1], bits=3, decay=0.9), 2).train()
    centres = torch.tensor([[x, y] for x in (-3.0, -1.0, 1.0, 3.0) for y in (-2.0, 2.0)])
    for _ in range(200):
        y = centres[torch.randint(8, (4, 50))] + 0.01 * torch.randn(4, 50, 2)
        rvq(y, torch.zeros(4, dtype=torch.long))
    found = torch.cdist(centres, rvq.codebooks[0]).min(dim=1).values
    # A few centres may share an entry's restart; most have one of their own.
    assert (found < 0.05).sum() >= 6
    assert (rvq.counts[0] > 0).all()


def test_stages_beyond_the_level_learn_nothing():
    rvq = raw_codec().entropy.train()
    before = rvq.codebooks.clone()
    rvq(latent(30).float(), torch.tensor([0]))
    changed = (rvq.codebooks != before).flatten(1).any(dim=1)
    assert changed.tolist() == [True, False, False, False]


def test_token_model_sees_only_what_the_decoder_has():
    """Odds of a group of frames depend on no token of that group or of a later one."""
    rvq = QUANTIZERS["coded"]
    tokens = rvq.quantize(latent(12), 1)
    seen: list[torch.Tensor] = []

    def note(group, log_odds):
        seen.append(log_odds.clone())
        return group

    blank = torch.zeros(1, 12, TINY.channels, dtype=torch.float64)
    rvq.walk(torch.tensor([1]), STAGES[1], blank, tokens, note)
    before = list(seen)
    seen.clear()
    changed = tokens.clone()
    changed[:, 2::4, 0] = (changed[:, 2::4, 0] + 1) % (1 << BITS)  # the second group of stage 1
    rvq.walk(torch.tensor([1]), STAGES[1], blank, changed, note)
    same = [torch.equal(a, b) for a, b in zip(before, seen, strict=True)]
    # With windows of three frames, the first group of stage 2 does not see these frames.
    assert same == [True, True, False, True, False, False]


def test_stages_must_be_as_many_as_levels():
    with pytest.raises(ValueError, match="as many as levels"):
        CodecConfig(rvq=RvqConfig(stages=[1, 2]), levels=3)
