import zlib

import numpy as np
import pytest
import torch
from compressai.entropy_models import GaussianConditional
from hypothesis import given, settings
from hypothesis import strategies as st

from ecc.model.rans import CHECK_BITS, SYMBOL_LIMIT, CodingError, Decoder, Encoder, Tables

SCALES = (0.11, 0.5, 3.0, 64.0)
CHECKS = st.integers(0, 2**CHECK_BITS - 1)


def gaussian_tables() -> Tables:
    """Tables as CompressAI builds them for the scales above."""
    model = GaussianConditional(list(SCALES))
    model.update()
    return Tables(model.quantized_cdf.numpy(), model.cdf_length.numpy(), model.offset.numpy())


GAUSSIAN = gaussian_tables()


@st.composite
def tables(draw: st.DrawFn) -> Tables:
    """Any tables: 1 to 20 symbols and an escape, all frequencies at least 2^-16."""
    rows, lengths, offsets = [], [], []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.integers(2, 21))
        cuts = draw(
            st.lists(st.integers(1, 2**16 - 1), min_size=size - 1, max_size=size - 1, unique=True)
        )
        rows.append([0, *sorted(cuts), 2**16])
        lengths.append(size + 1)
        offsets.append(draw(st.integers(-40, 40)))
    width = max(lengths)
    cdfs = np.array([row + [0] * (width - len(row)) for row in rows], np.int32)
    return Tables(cdfs, np.array(lengths, np.int32), np.array(offsets, np.int32))


@st.composite
def symbols(draw: st.DrawFn, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Up to 60 symbols with the index of the table of each: near the tables, at both ends of the
    range, or anywhere in it."""
    value = st.one_of(
        st.integers(-50, 70),
        st.sampled_from([-SYMBOL_LIMIT, SYMBOL_LIMIT - 1]),
        st.integers(-SYMBOL_LIMIT, SYMBOL_LIMIT - 1),
    )
    pairs = draw(st.lists(st.tuples(value, st.integers(0, count - 1)), max_size=60))
    values = np.array([v for v, _ in pairs], np.int32)
    return values, np.array([i for _, i in pairs], np.int32)


def code(parts: list[tuple[np.ndarray, np.ndarray, Tables]], check: int = 0) -> bytes:
    encoder = Encoder()
    for values, indexes, coded_with in parts:
        encoder.push(values, indexes, coded_with)
    return encoder.finish(check)


@settings(max_examples=100)
@given(st.data(), CHECKS)
def test_round_trip_and_length(data, check):
    parts = []
    for _ in range(data.draw(st.integers(0, 4))):
        drawn = data.draw(tables())
        parts.append((*data.draw(symbols(len(drawn.models))), drawn))
    stream = code(parts, check)
    decoder = Decoder(stream)
    for values, indexes, coded_with in parts:
        np.testing.assert_array_equal(decoder.pull(indexes, coded_with), values)
    assert decoder.finish() == check
    ideal = sum(coded_with.bits(values, indexes).sum() for values, indexes, coded_with in parts)
    # The check and the mark above it, less than a byte of rounding, and what 24 bits of precision
    # lose of each symbol.
    count = sum(len(values) for values, *_ in parts)
    assert 8 * len(stream) < ideal + CHECK_BITS + 1 + 8 + 0.02 * count


@pytest.mark.parametrize("value", [-SYMBOL_LIMIT, -5, 0, 3, SYMBOL_LIMIT - 1])
@pytest.mark.parametrize("index", range(len(SCALES)))
def test_one_symbol(value, index):
    stream = code([(np.array([value], np.int32), np.array([index], np.int32), GAUSSIAN)], 7)
    decoder = Decoder(stream)
    assert decoder.pull(np.array([index], np.int32), GAUSSIAN).tolist() == [value]
    assert decoder.finish() == 7


@given(CHECKS)
def test_nothing_takes_three_bytes(check):
    stream = code([], check)
    assert len(stream) == 3
    assert Decoder(stream).finish() == check


def test_symbols_at_the_ends_of_a_table_and_beyond_it():
    for table, (escape, offset) in enumerate(zip(GAUSSIAN.escapes, GAUSSIAN.offsets, strict=True)):
        inside = np.array([offset, offset + escape - 1], np.int32)
        beyond = np.array([offset - 1, offset + escape], np.int32)
        indexes = np.full(2, table, np.int32)
        escaped = -np.log2(GAUSSIAN.frequencies[table][-1]) + 16
        assert np.allclose(GAUSSIAN.bits(beyond, indexes), escaped)
        assert (GAUSSIAN.bits(inside, indexes) <= 16).all()
        for values in (inside, beyond):
            decoder = Decoder(code([(values, indexes, GAUSSIAN)]))
            assert decoder.pull(indexes, GAUSSIAN).tolist() == values.tolist()


def gaussian_symbols(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, len(SCALES), count).astype(np.int32)
    return np.rint(rng.normal(0, np.array(SCALES)[indexes])).astype(np.int32), indexes


def test_long_streams_take_the_bits_that_the_tables_say():
    values, indexes = gaussian_symbols(100_000)
    ideal = GAUSSIAN.bits(values, indexes).sum()
    real = 8 * len(code([(values, indexes, GAUSSIAN)]))
    assert real == pytest.approx(ideal, rel=2e-4)
    # And the tables say what the distributions do.
    scale = torch.tensor(np.array(SCALES)[indexes])
    model = GaussianConditional(list(SCALES))
    likelihoods = model._likelihood(torch.tensor(values.astype(float)), scale)
    entropy = -torch.log2(likelihoods.clamp_min(1e-9)).sum().item()
    assert ideal == pytest.approx(entropy, rel=2e-3)


def test_symbols_are_coded_table_by_table_each_in_their_order():
    values, indexes = gaussian_symbols(2000)
    values = values.clip(-1, 1)  # none escapes
    chosen = [indexes == table for table in range(len(SCALES))]
    apart = [(values[which], indexes[which], GAUSSIAN) for which in chosen]
    assert code([(values, indexes, GAUSSIAN)]) == code(apart)


def test_parts_pushed_apart_cost_no_more_than_together():
    values, indexes = gaussian_symbols(4000)
    together = code([(values, indexes, GAUSSIAN)])
    cuts = range(0, 4000, 50)
    apart = code([(values[i : i + 50], indexes[i : i + 50], GAUSSIAN) for i in cuts])
    assert abs(len(apart) - len(together)) <= 1


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 2**31))
def test_any_bytes_are_safe_to_decode(data, count, seed):
    _, indexes = gaussian_symbols(count, seed)
    try:
        decoder = Decoder(data)
        values = decoder.pull(indexes, GAUSSIAN)
        assert values.shape == (count,)
        assert ((values >= -SYMBOL_LIMIT) & (values < SYMBOL_LIMIT)).all()
        assert 0 <= decoder.finish() < 2**CHECK_BITS
    except CodingError:
        pass


@pytest.mark.parametrize("data", [b"", b"\0", b"\1\0", b"\1\2\3\4\0\0\0\0"])
def test_streams_not_in_the_written_form_are_refused(data):
    with pytest.raises(CodingError, match="not an entropy-coded stream"):
        Decoder(data)


def check_of(values: np.ndarray) -> int:
    """A hash of the symbols, as the entropy model puts one of the latent into its streams: a
    number that does not depend on them comes out of some wrong decodes too."""
    return zlib.crc32(values.astype("<i4").tobytes()) % 2**CHECK_BITS


def caught(stream: bytes, indexes: np.ndarray) -> bool:
    try:
        decoder = Decoder(stream)
        values = decoder.pull(indexes, GAUSSIAN)
        return decoder.finish() != check_of(values)
    except CodingError:
        return True


@given(st.integers(0, 2**31), st.integers(0, 199))
def test_a_wrong_table_is_caught(seed, at):
    values, indexes = gaussian_symbols(200, seed)
    stream = code([(values, indexes, GAUSSIAN)], check_of(values))
    assert not caught(stream, indexes)
    wrong = indexes.copy()
    wrong[at] = (wrong[at] + 1) % len(SCALES)
    assert caught(stream, wrong)


@pytest.mark.parametrize("check", [0, 2**CHECK_BITS - 1])
def test_a_stream_that_goes_on_has_no_check(check):
    for index in range(len(SCALES)):
        stream = code([(np.array([2], np.int32), np.array([index], np.int32), GAUSSIAN)], check)
        with pytest.raises(CodingError, match="do not end where"):
            Decoder(stream).finish()


@given(st.integers(0, 2**31), st.sampled_from([-1, 1]))
def test_a_symbol_too_many_or_too_few_is_caught(seed, more):
    # Scale 3 and above: a table that codes a symbol in next to no bits could hide one.
    values, indexes = gaussian_symbols(200, seed)
    indexes = np.maximum(indexes, 2)
    stream = code([(values, indexes, GAUSSIAN)], check_of(values))
    wrong = indexes[:-1] if more < 0 else np.append(indexes, np.int32(3))
    assert caught(stream, wrong.astype(np.int32))


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_and_cuts_are_caught(seed):
    values, indexes = gaussian_symbols(100, seed)
    stream = code([(values, indexes, GAUSSIAN)], check_of(values))
    for bit in range(8 * len(stream)):
        flipped = bytearray(stream)
        flipped[bit // 8] ^= 1 << bit % 8
        assert caught(bytes(flipped), indexes)
    for end in range(len(stream)):
        assert caught(stream[:end], indexes)
