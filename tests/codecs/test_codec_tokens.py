"""Tokens as bytes, without a network: those of tests/codecs/test_peers.py need a package."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ecc.codecs.tokens import TokenCodec, pack_tokens, unpack_tokens


class Levels(TokenCodec):
    """Each frame as its loudest sample and its mean, of 24 kHz."""

    version, sample_rate, hop, codebooks, token_bits = "1", 24000, 480, 2, 7

    def tokens(self, samples):
        frames = samples.reshape(-1, self.hop)
        levels = np.stack([np.abs(frames).max(axis=1), np.abs(frames).mean(axis=1)])
        return np.rint(127 * levels).clip(0, 127).astype(np.int64)

    def samples(self, tokens):
        return np.repeat(tokens[0] / 127, self.hop).astype(np.float32)


@st.composite
def tokens_of_some_bits(draw):
    bits = draw(st.integers(1, 16))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(0, 40)))
    return draw(arrays.arrays(np.int64, shape, elements=st.integers(0, 2**bits - 1))), bits


@given(tokens_of_some_bits())
def test_tokens_are_the_same_after_packing(tokens_and_bits):
    tokens, bits = tokens_and_bits
    packed = pack_tokens(tokens, bits)
    assert len(packed) == -(-tokens.size * bits // 8)
    np.testing.assert_array_equal(unpack_tokens(packed, bits, tokens.shape), tokens)


@given(tokens_of_some_bits(), st.integers(-20, 20))
def test_another_number_of_bytes_is_an_error(tokens_and_bits, change):
    tokens, bits = tokens_and_bits
    packed = pack_tokens(tokens, bits)
    other = packed[:change] if change < 0 else packed + bytes(change)
    if len(other) != len(packed):
        with pytest.raises(ValueError, match="truncated" if change < 0 else "too long"):
            unpack_tokens(other, bits, tokens.shape)


def test_tokens_stand_frame_by_frame_from_the_highest_bit():
    tokens = np.array([[0b101, 0b000], [0b110, 0b111]])
    assert pack_tokens(tokens, 3) == bytes([0b10111000, 0b01110000])


@pytest.mark.parametrize("token", [-1, 8])
def test_a_token_that_does_not_fit_is_an_error(token):
    with pytest.raises(ValueError, match="tokens of 3 bits cannot be"):
        pack_tokens(np.array([[token]]), 3)


@pytest.mark.parametrize("count", [1, 319, 320, 321, 16000, 16001])
def test_all_bytes_count_and_the_length_is_kept(voice, count):
    codec = Levels()
    samples = voice(2)[:count]
    stream = codec.encode(samples)
    frames = -(-count // 320)
    assert len(stream) == 4 + -(-frames * 2 * 7 // 8)
    assert codec.bits(stream) == 8 * len(stream)
    decoded = Levels().decode(stream)
    assert decoded.dtype == np.float32
    assert decoded.shape == samples.shape
    assert np.isfinite(decoded).all()


def test_speech_comes_back_at_its_own_rate_and_place():
    samples = np.zeros(16000, np.float32)
    samples[8000:9600] = 0.5  # frames 25 to 29
    decoded = Levels().decode(Levels().encode(samples))
    assert np.abs(decoded[8100:9500]).min() > 0.45
    assert np.abs(decoded[:7600]).max() < 0.05
    assert np.abs(decoded[10000:]).max() < 0.05


def test_a_cut_stream_is_one_line(voice):
    stream = Levels().encode(voice(1))
    for size in (0, 3, 4, len(stream) - 1):
        with pytest.raises(ValueError, match=r"^truncated stream: .*$"):
            Levels().decode(stream[:size])
    with pytest.raises(ValueError, match=r"^stream too long: .*$"):
        Levels().decode(stream + b"\0")


def test_a_network_that_makes_another_number_of_frames_is_found_out(voice, monkeypatch):
    monkeypatch.setattr(Levels, "tokens", lambda self, samples: np.zeros((2, 3), np.int64))
    with pytest.raises(RuntimeError, match=r"made tokens \(2, 3\), not \(2, 50\)"):
        Levels().encode(voice(1))
