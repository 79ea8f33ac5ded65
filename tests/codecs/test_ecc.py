import copy
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from golden.conftest import golden_model
from hypothesis import given, settings
from hypothesis import strategies as st

from ecc.codecs.ecc import EccCodec
from ecc.model.codec import ECC
from ecc.model.config import CodecConfig, EntropyConfig, TransformConfig
from ecc.model.weights import save_model
from ecc.runtime.entropy import Latent
from ecc.stream import Header, StreamError, unpack_chunks

FRAME = 64  # samples in a latent frame of the golden model
CHUNK = 1024 * FRAME
CONTEXT = 16 * FRAME


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return golden_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def loaded(model) -> EccCodec:
    return EccCodec(model)


@pytest.fixture
def codec(loaded) -> EccCodec:
    """The golden model at level 1; a test may set its level and threshold."""
    return copy.copy(loaded)


@pytest.fixture(scope="module")
def five(loaded, voice) -> bytes:
    """A stream of four chunks and a bit."""
    return loaded.encode(voice(4 * CHUNK / 16000 + 0.3))


def same(one: Latent | None, other: Latent | None) -> bool:
    parts = ("z", "symbols", "indexes", "y_hat")
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in parts)


def bend(stream: bytes, at: int) -> bytes:
    return stream[:at] + bytes([stream[at] ^ 0x10]) + stream[at + 1 :]


def chunk_starts(codec: EccCodec, stream: bytes) -> list[int]:
    """Where the payload of each chunk begins."""
    header, at = Header.unpack(stream)
    starts = []
    for payload in unpack_chunks(stream, at, codec.codec.count_chunks(header.samples)):
        at = stream.index(payload, at)
        starts.append(at)
        at += len(payload)
    return starts


@settings(max_examples=25)
@given(
    samples=st.integers(0, 2000) | st.sampled_from([0, 1]),
    level=st.integers(0, 1),
    skip=st.integers(0, 15),
)
def test_any_length_at_any_setting_comes_back(loaded, samples, level, skip):
    codec = copy.copy(loaded)
    codec.level, codec.skip = level, skip
    x = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    stream = codec.encode(x)
    header, _ = Header.unpack(stream)
    assert (header.samples, header.level, header.skip) == (samples, level, skip)
    assert loaded.decode(stream).shape == (samples,)


@pytest.mark.parametrize("samples", [CHUNK - 1, CHUNK, CHUNK + 1])
def test_lengths_around_a_chunk_come_back(codec, voice, samples):
    x_hat = codec.decode(codec.encode(voice(6)[:samples]))
    assert x_hat.shape == (samples,)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros(3000),
        np.full(3000, 1.0),
        np.full(3000, -1.0),
        np.random.default_rng(0).choice([-1.0, 1.0], 3000),
        8 * np.sin(np.arange(3000) / 10),
        np.full(3000, 3e38),
        np.eye(1, 3000)[0],
    ],
    ids=["silence", "dc", "negative dc", "full-scale noise", "clipping", "huge", "click"],
)
def test_extreme_signals_come_back_finite(codec, x):
    x_hat = codec.decode(codec.encode(x.astype(np.float32)))
    assert x_hat.shape == x.shape
    assert np.abs(x_hat).max() <= 1


def test_samples_beyond_full_scale_are_clipped(codec, voice):
    x = 8 * voice(0.2)
    assert codec.encode(x) == codec.encode(x.clip(-1, 1))


def test_what_is_no_signal_is_refused(codec):
    with pytest.raises(ValueError, match="NaN"):
        codec.encode(np.full(10, np.nan, np.float32))
    with pytest.raises(ValueError, match=r"shape \(2, 10\)"):
        codec.encode(np.zeros((2, 10), np.float32))


def test_a_skip_that_takes_all_leaves_the_check_alone(tmp_path):
    # No hyperprior and one sure scale: nothing is coded, and the stack holds its 3 bytes of check.
    config = CodecConfig(
        transform=TransformConfig(
            n_fft=64, hop=32, width=8, hidden=8, analysis_blocks=1, synthesis_blocks=1, channels=8
        ),
        entropy=EntropyConfig(hyperprior=False, width=8),
    )
    codec = ECC(config)
    for net in codec.entropy.parameter_nets:
        net[-1].bias.data[len(net[-1].bias) // 2 :] = -5
    save_model(codec, tmp_path / "m.safetensors", "sure", [1.0], {})
    sure = EccCodec(tmp_path / "m.safetensors")
    stream = sure.encode(np.ones(3000, np.float32))
    _, at = Header.unpack(stream)
    assert [len(payload) for payload in unpack_chunks(stream, at, 1)] == [3]
    assert sure.decode(stream).shape == (3000,)
    with pytest.raises(StreamError, match=r"damaged|other symbols|entropy-coded|do not end"):
        sure.decode(bend(stream, len(stream) - 2))


def test_overhead_of_ten_seconds_is_at_most_16_bytes(tmp_path, voice):
    config = CodecConfig(
        transform=TransformConfig(
            n_fft=320, hop=160, width=8, hidden=8, analysis_blocks=1, synthesis_blocks=1
        ),
        entropy=EntropyConfig(width=8, z_channels=4),
    )
    save_model(ECC(config), tmp_path / "m.safetensors", "ten", [1.0], {})
    codec = EccCodec(tmp_path / "m.safetensors")
    stream = codec.encode(voice(10))
    (latent,) = codec.latents(stream)
    y_tables, z_tables = codec.codec.entropy.y_tables, codec.codec.entropy.z_tables
    coded = latent.indexes >= codec.skip
    bits = y_tables.bits(latent.symbols[coded], latent.indexes[coded]).sum()
    bits += z_tables.bits(latent.z.ravel(), np.tile(np.arange(4), len(latent.z))).sum()
    assert bits > 10000
    assert len(stream) - math.ceil(bits / 8) <= 16
    # And the coder itself loses next to nothing.
    assert 8 * (len(stream) - 13) - 24 - bits < 8 + 1e-4 * bits


def test_a_stream_of_something_else_is_refused(codec, voice):
    stream = codec.encode(voice(0.2))
    header, at = Header.unpack(stream)
    for other, message in [
        (Header(b"abc", header.samples, 1, 5), r"made by model 616263; this is golden \(9a201b\)"),
        (Header(header.model_id, header.samples, 2, 5), "names level 2, which golden has not"),
        (Header(header.model_id, header.samples, 1, 5, 8000), "holds 8000 Hz; the model works at"),
        (Header(header.model_id, header.samples + 1, 1, 5), "chunk 1 of 1 is damaged|chunk 1 of 1"),
        (Header(header.model_id, 0, 1, 5), "bytes too many behind the last chunk"),
    ]:
        with pytest.raises(StreamError, match=message):
            codec.decode(other.pack() + stream[at:])


def test_settings_that_no_stream_holds_are_refused(model):
    with pytest.raises(ValueError, match="golden has the levels 0 to 1, not 2"):
        EccCodec(model, level=2)
    with pytest.raises(ValueError, match="a skip threshold is between 0 and 15, not 16"):
        EccCodec(model, skip=16)


def test_a_damaged_chunk_is_silent_and_the_others_are_whole(loaded, five):
    whole = list(loaded.decode_chunks(five))
    said = list(loaded.latents(five))
    bent = bend(five, chunk_starts(loaded, five)[2] + 40)
    with pytest.raises(StreamError, match="chunk 3 of 5 is damaged"):
        loaded.decode(bent)
    problems: list[str] = []
    for number, latent in enumerate(loaded.latents(bent, problems)):
        assert latent is None if number == 2 else same(latent, said[number])
    assert problems == ["chunk 3 of 5 is damaged"]
    parts = list(loaded.decode_chunks(bent, []))
    assert [len(part) for part in parts] == [len(part) for part in whole]
    assert not parts[2].any()
    assert np.array_equal(parts[0], whole[0])
    assert np.array_equal(parts[4], whole[4])
    # The neighbours were synthesised without the context that is lost.
    before, after = np.abs(parts[1] - whole[1]), np.abs(parts[3] - whole[3])
    assert before[:-CONTEXT].max() < 0.05
    assert after[CONTEXT:].max() < 0.05


def test_what_a_lucky_checksum_lets_pass_is_found_by_the_check(loaded, five):
    start = chunk_starts(loaded, five)[2]
    found = []
    for at in range(start, start + 2000):
        bent = bend(five, at)
        problems: list[str] = []
        _, header = Header.unpack(bent)
        if None not in unpack_chunks(bent, header, 5, []):
            assert list(loaded.latents(bent, problems))[2] is None
            found += problems
    assert found
    assert all(problem.startswith("chunk 3 of 5: ") for problem in found)


def test_swapped_chunks_are_noticed(loaded):
    # Chunks of silence are equal but for their places.
    stream = loaded.encode(np.zeros(4 * CHUNK, np.float32))
    starts = chunk_starts(loaded, stream)
    one, two = stream[starts[1] - 3 : starts[2] - 3], stream[starts[2] - 3 : starts[3] - 3]
    assert len(one) == len(two)
    assert one != two
    swapped = stream.replace(one + two, two + one)
    problems: list[str] = []
    assert [latent is None for latent in loaded.latents(swapped, problems)].count(True) == 2
    assert len(problems) == 2


def test_a_stream_that_breaks_off_ends_there(loaded, five):
    whole = list(loaded.decode_chunks(five))
    cut = five[: chunk_starts(loaded, five)[3] + 10]
    with pytest.raises(StreamError, match="cut short in chunk 4 of 5"):
        loaded.decode(cut)
    problems: list[str] = []
    parts = list(loaded.decode_chunks(cut, problems))
    assert problems == ["cut short in chunk 4 of 5"]
    assert [len(part) for part in parts] == [len(part) for part in whole[:3]]
    assert np.array_equal(parts[0], whole[0])
    assert np.array_equal(parts[1], whole[1])


def test_no_whole_chunk_no_silence(loaded, five):
    # The header asks for 2^40 samples; nothing says that it may.
    header, at = Header.unpack(five)
    long = Header(header.model_id, 2**40, header.level, header.skip).pack()
    problems: list[str] = []
    with pytest.raises(StreamError, match="no chunk of it can be decoded"):
        next(loaded.decode_chunks(long + five[at:], problems))
    assert problems


def test_a_stream_of_nothing_has_no_chunk(codec):
    stream = codec.encode(np.zeros(0, np.float32))
    assert len(stream) == 8
    assert codec.decode(stream).shape == (0,)
    with pytest.raises(StreamError, match="1 bytes too many"):
        codec.decode(stream + b"\0")


HOUR = """
import resource, sys
import numpy as np
from ecc.codecs.ecc import EccCodec

codec, seconds = EccCodec(sys.argv[1]), int(sys.argv[2])
x = np.sin(np.arange(16000 * seconds, dtype=np.float32) % 1600 / 5) * np.float32(0.3)
stream = b"".join(codec.encode_chunks(x))
del x
samples = sum(len(part) for part in codec.decode_chunks(stream))
assert samples == 16000 * seconds
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_an_hour_takes_bounded_memory(model):
    command = [sys.executable, "-W", "ignore", "-c", HOUR, str(model), "3600"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 1.5 * 2**20
