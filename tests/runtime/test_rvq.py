"""Real streams of tokens, beside what PyTorch says of the same latents."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model.conftest import TINY, coder
from model.test_rvq import BITS, QUANTIZERS, STAGES, TOKENS, raw_codec

from ecc.model.config import TokenConfig
from ecc.model.files import read_model
from ecc.model.fixed_point import STEP
from ecc.model.rans import CodingError
from ecc.model.weights import save_model
from ecc.runtime.codec import Coder
from ecc.runtime.rvq import TokenEntropyCoder


def quantizer(tokens: TokenConfig | None = None) -> TokenEntropyCoder:
    codec = raw_codec(tokens)
    codec.update()
    return coder(codec).entropy


CODERS = {"plain": quantizer(), "coded": quantizer(TOKENS)}


def latent(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, TINY.channels))


@pytest.mark.parametrize("name", CODERS)
@given(frames=st.integers(1, 30), level=st.integers(0, 2), seed=st.integers(0, 1000))
def test_decoder_finds_what_was_encoded(name, frames, level, seed):
    rvq = CODERS[name]
    stream, encoded = rvq.compress(latent(frames, seed), level, 0, b"place")
    decoded = rvq.decompress(stream, frames, level, 0, b"place")
    np.testing.assert_array_equal(decoded.y_hat, encoded.y_hat)
    np.testing.assert_array_equal(decoded.symbols, encoded.symbols)
    np.testing.assert_array_equal(rvq.costs(decoded, level)[1], rvq.costs(encoded, level)[1])
    assert encoded.symbols.shape == (frames, STAGES[level])
    with pytest.raises(CodingError):
        rvq.decompress(stream, frames, level, 0, b"elsewhere")


@pytest.mark.parametrize("name", CODERS)
def test_stream_is_as_long_as_the_estimate(name):
    rvq, y = CODERS[name], latent(200)
    for level in range(len(STAGES)):
        stream, encoded = rvq.compress(y, level, 0)
        _, costs = rvq.costs(encoded, level)
        assert 8 * len(stream) == pytest.approx(costs.sum(), rel=0.002, abs=32)
        tokens, levels = torch.from_numpy(encoded.symbols).long()[None], torch.tensor([level])
        estimated = QUANTIZERS[name].token_bits(tokens, levels).item()
        assert costs.sum() == pytest.approx(estimated, rel=1e-4)
        expected = QUANTIZERS[name].quantize(torch.from_numpy(y)[None], level)[0]
        np.testing.assert_array_equal(encoded.symbols, expected)
        assert len(rvq.part_names(level)) == costs.shape[1]


def test_without_a_model_every_token_takes_its_bits():
    for name, rvq in CODERS.items():
        _, costs = rvq.costs(rvq.compress(latent(50), 2, 0)[1], 2)
        assert (costs == BITS).all() == (name == "plain")


def test_y_hat_is_the_sum_of_the_nearest_entries():
    rvq, y = CODERS["plain"], latent(20)
    _, encoded = rvq.compress(y, 2, 0)
    left = y
    for stage in range(4):
        codebook = rvq.codebooks[stage]
        distances = np.linalg.norm(left[:, None] - codebook, axis=-1)
        np.testing.assert_array_equal(encoded.symbols[:, stage], distances.argmin(axis=1))
        left = left - codebook[encoded.symbols[:, stage]]
    np.testing.assert_allclose(y - encoded.y_hat, left, atol=4 * STEP)


def test_a_model_file_holds_the_code_books_and_the_token_model(tmp_path):
    codec, path = raw_codec(TOKENS), tmp_path / "rvq.safetensors"
    save_model(codec, path, "rvq", [], {})
    model = read_model(path)
    assert model.levels == ["1 stages", "2 stages", "4 stages"]
    y = latent(20)
    said = [each.entropy.compress(y, 1, 0)[0] for each in (Coder(model), coder(codec))]
    assert said[0] == said[1]


def test_chunks_and_lengths_join_without_padding_to_frames_of_z():
    codec = coder(raw_codec())
    assert codec.granule == codec.transform.samples_per_frame
    assert list(codec.chunks(3 * codec.granule)) == [3]


def test_symbols_of_another_model_are_an_error():
    stream, _ = CODERS["coded"].compress(latent(40), 2, 0)
    with pytest.raises(CodingError):
        CODERS["plain"].decompress(stream, 40, 2, 0)
    _, encoded = CODERS["plain"].compress(latent(40), 2, 0)
    other = replace(encoded, y_hat=encoded.y_hat + STEP)
    assert other.check() != encoded.check()
