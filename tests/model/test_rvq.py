from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model.conftest import TINY

from ecc.model import exact
from ecc.model.codec import ECC
from ecc.model.config import CodecConfig, RvqConfig, TokenConfig
from ecc.model.rans import CodingError
from ecc.model.rvq import ResidualVectorQuantizer
from ecc.model.weights import load_model, save_model

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


@pytest.mark.parametrize("name", QUANTIZERS)
@given(frames=st.integers(1, 30), level=st.integers(0, 2), seed=st.integers(0, 1000))
def test_decoder_finds_what_was_encoded(name, frames, level, seed):
    rvq = QUANTIZERS[name]
    stream, encoded = rvq.compress(latent(frames, seed), level, 0, b"place")
    decoded = rvq.decompress(stream, frames, level, 0, b"place")
    assert torch.equal(decoded.y_hat, encoded.y_hat)
    np.testing.assert_array_equal(decoded.symbols, encoded.symbols)
    assert encoded.symbols.shape == (frames, STAGES[level])
    with pytest.raises(CodingError):
        rvq.decompress(stream, frames, level, 0, b"elsewhere")


@pytest.mark.parametrize("name", QUANTIZERS)
def test_stream_is_as_long_as_the_estimate(name):
    rvq, y = QUANTIZERS[name], latent(200)
    for level in range(len(STAGES)):
        stream, encoded = rvq.compress(y, level, 0)
        assert 8 * len(stream) == pytest.approx(encoded.estimated, rel=0.002, abs=32)
        _, costs = rvq.costs(encoded, level)
        assert costs.sum() == pytest.approx(encoded.estimated)
        assert len(rvq.part_names(level)) == costs.shape[1]


def test_without_a_model_every_token_takes_its_bits():
    plain, coded = (QUANTIZERS[name].compress(latent(50), 2, 0)[1] for name in ("plain", "coded"))
    assert plain.estimated == 50 * 4 * BITS != coded.estimated


def test_y_hat_is_the_sum_of_the_nearest_entries():
    rvq, y = QUANTIZERS["plain"], latent(20)
    _, encoded = rvq.compress(y, 2, 0)
    left = y[0].numpy()
    for stage in range(4):
        codebook = rvq.codebooks[stage].numpy()
        distances = np.linalg.norm(left[:, None] - codebook, axis=-1)
        np.testing.assert_array_equal(encoded.symbols[:, stage], distances.argmin(axis=1))
        left = left - codebook[encoded.symbols[:, stage]]
    np.testing.assert_allclose(y[0].numpy() - encoded.y_hat[0].numpy(), left, atol=4 * exact.STEP)


def test_estimate_of_forward_is_that_of_coding():
    rvq, y = QUANTIZERS["plain"], latent(20)
    y_hat, bits = rvq(y.repeat(3, 1, 1), torch.arange(3))
    assert bits["slices"].sum(dim=1).tolist() == [20 * n * BITS for n in STAGES]
    for level in range(3):
        _, encoded = rvq.compress(y, level, 0)
        torch.testing.assert_close(y_hat[level], encoded.y_hat[0], atol=4 * exact.STEP, rtol=0)


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

    rvq.walk(torch.tensor([1]), 12, tokens, note)
    before = list(seen)
    seen.clear()
    changed = tokens.clone()
    changed[:, 2::4, 0] = (changed[:, 2::4, 0] + 1) % (1 << BITS)  # the second group of stage 1
    rvq.walk(torch.tensor([1]), 12, changed, note)
    same = [torch.equal(a, b) for a, b in zip(before, seen, strict=True)]
    # With windows of three frames, the first group of stage 2 does not see these frames.
    assert same == [True, True, False, True, False, False]


def test_token_model_is_exact_in_any_precision_of_the_machine():
    """The sums of the token model are the same however they are ordered."""
    rvq, y = QUANTIZERS["coded"], latent(40)
    alone, _ = rvq.compress(y, 2, 0)
    twice = rvq.walk(
        torch.tensor([2, 2]), 40, rvq.quantize(y.repeat(2, 1, 1), 2), lambda tokens, _: tokens
    )[0]
    assert torch.equal(twice[0], twice[1])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert rvq.compress(y, 2, 0)[0] == alone
    finally:
        torch.set_num_threads(threads)


def test_a_model_file_holds_the_code_books_and_the_token_model(tmp_path):
    codec, path = raw_codec(TOKENS), tmp_path / "rvq.safetensors"
    save_model(codec, path, "rvq", [], {})
    trained = load_model(path)
    assert trained.levels == ["1 stages", "2 stages", "4 stages"]
    codec.entropy.double()
    y = latent(20)
    assert trained.codec.entropy.compress(y, 1, 0)[0] == codec.entropy.compress(y, 1, 0)[0]


def test_chunks_and_lengths_join_without_padding_to_frames_of_z():
    codec = raw_codec()
    assert codec.granule == codec.transform.samples_per_frame
    assert list(codec.chunks(3 * codec.granule)) == [3]


def test_stages_must_be_as_many_as_levels():
    with pytest.raises(ValueError, match="as many as levels"):
        CodecConfig(rvq=RvqConfig(stages=[1, 2]), levels=3)


def test_symbols_of_another_model_are_an_error():
    stream, _ = QUANTIZERS["coded"].compress(latent(40), 2, 0)
    with pytest.raises(CodingError):
        QUANTIZERS["plain"].decompress(stream, 40, 2, 0)
    _, encoded = QUANTIZERS["plain"].compress(latent(40), 2, 0)
    other = replace(encoded, y_hat=encoded.y_hat + exact.STEP)
    assert other.check() != encoded.check()
