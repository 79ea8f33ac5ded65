"""The reference decoder finds what `ecc decode` finds: the same symbols and the same samples."""

import ast
import hashlib
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import reference_decoder as reference
from golden.conftest import CASES, golden_model
from hypothesis import given, settings
from hypothesis import strategies as st
from model import test_rvq
from model.conftest import raw_codec
from numpy.typing import NDArray
from test_fuzz import STREAMS, mutate

from ecc import audio
from ecc.bench import speechlike
from ecc.codecs.ecc import EccCodec
from ecc.model import fixed_point
from ecc.model.codec import ECC
from ecc.model.files import ModelError, find_model
from ecc.model.rans import Encoder
from ecc.model.weights import save_model
from ecc.stream import Header, StreamError, pack_chunk, unpack_chunks

PROGRAM = Path(__file__).parents[1] / "examples/reference_decoder.py"
# Each part of the codec left out in turn, and the projections, which small models have not.
SWITCHES = {
    "whole": {},
    "one group": {"taps": [3]},
    "six groups": {"taps": [3] * 6, "z_stride": 2},
    "no hyperprior": {"hyperprior": False},
    "no context": {"context": False},
    "no lrp": {"lrp": False},
    "no attention": {"attention": 0, "transform": {"attention": 0}},
    "projections": {"transform": {"decoder_projections": 3, "stack": 3}},
}


def files(*paths: Path) -> dict[str, bytes]:
    """Model files by their SHA-256."""
    return {hashlib.sha256(data).hexdigest(): data for data in (p.read_bytes() for p in paths)}


def samples_of(stream: bytes, models: dict[str, bytes]) -> NDArray[np.int16]:
    """What the reference decoder makes of a stream, given these models."""
    model_id = reference.read_header(stream)[2].hex()
    return reference.decode(stream, reference.choose_model(models, model_id))


def assert_same(codec: EccCodec, stream: bytes, models: dict[str, bytes]) -> None:
    model = reference.choose_model(models, codec.model_id.hex())
    for found, said in zip(
        reference.decode_latents(stream, model), codec.latents(stream), strict=True
    ):
        assert said is not None
        for part in reference.Latent._fields:
            np.testing.assert_array_equal(getattr(found, part), getattr(said, part), part)
    np.testing.assert_array_equal(samples_of(stream, models), audio.to_int16(codec.decode(stream)))


def save(codec: ECC, path: Path, base: Path | None = None) -> Path:
    save_model(codec, path, path.stem, [1.0] * codec.config.levels, {}, base)
    return path


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> EccCodec:
    return EccCodec(golden_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def golden_files(golden) -> dict[str, bytes]:
    return files(golden.trained.path)


def test_it_is_short_and_takes_numpy_alone():
    text = PROGRAM.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"numpy"}


@pytest.mark.parametrize("name", sorted(CASES))
def test_golden_streams(golden, golden_files, name):
    assert_same(golden, STREAMS[name], golden_files)


@pytest.mark.parametrize("name", SWITCHES)
def test_models_of_all_shapes(name, voice, tmp_path):
    path = save(raw_codec(**SWITCHES[name]), tmp_path / "tiny.safetensors")
    codec = EccCodec(path)
    for level, skip in ((0, 0), (1, 5), (2, 15)):
        codec.level, codec.skip = level, skip
        assert_same(codec, codec.encode(voice(0.3)), files(path))


@pytest.mark.parametrize("tokens", [None, test_rvq.TOKENS], ids=["plain", "coded"])
def test_residual_vector_quantization(tokens, voice, tmp_path):
    path = save(test_rvq.raw_codec(tokens), tmp_path / "rvq.safetensors")
    codec = EccCodec(path)
    for samples in (voice(0.3), np.ones(1, np.float32)):
        for level in range(codec.codec.config.levels):
            assert_same(codec, b"".join(codec.encode_chunks(samples, level)), files(path))


def test_a_model_that_stands_on_another(voice, tmp_path):
    base = save(test_rvq.raw_codec(), tmp_path / "base.safetensors")
    top = save(test_rvq.raw_codec(test_rvq.TOKENS), tmp_path / "top.safetensors", base)
    codec = EccCodec(top)
    stream = codec.encode(voice(0.1))
    assert_same(codec, stream, files(top, base))
    with pytest.raises(reference.FormatError, match="none of the model files is"):
        samples_of(stream, files(top))


@pytest.mark.parametrize("name", ["ecc", "rvq", "rvq-coded"])
def test_trained_models(name):
    try:
        path, base = find_model(name), find_model("rvq")
    except ModelError as error:
        pytest.skip(str(error))
    codec, models = EccCodec(path), files(path, base)
    highest = codec.codec.config.levels - 1
    for level in (0, highest // 2, highest):
        stream = b"".join(codec.encode_chunks(speechlike(0.5), level))
        assert_same(codec, stream, models)


@settings(max_examples=50)
@given(st.data())
def test_the_coder_is_that_of_the_library(data):
    size = data.draw(st.integers(2, 40))
    rows = st.lists(st.integers(0, 2**31), min_size=size, max_size=size).filter(any)
    odds = np.array(data.draw(st.lists(rows, min_size=1, max_size=20)), np.float64)
    symbols = data.draw(st.lists(st.integers(0, size - 1), min_size=len(odds), max_size=len(odds)))
    encoder = Encoder()
    encoder.push_each(np.array(symbols, np.int32), odds)
    stack = reference.Stack(encoder.finish(1234))
    assert [stack.symbol(reference.cumulative(row)) for row in odds] == symbols
    assert (stack.state, stack.words) == (2**23 + 1234, [])


def test_powers_are_those_of_the_library():
    np.testing.assert_array_equal(reference.powers_of_two(), fixed_point._powers())


def outcome(codec: EccCodec, stream: bytes, models: dict[str, bytes]) -> bytes | None:
    """The samples that both make of a stream, or None if both refuse it."""
    try:
        expected = audio.to_int16(codec.decode(stream)).tobytes()
    except StreamError:
        expected = None
    try:
        found = samples_of(stream, models).tobytes()
    except reference.FormatError as error:
        assert str(error) and "\n" not in str(error)
        found = None
    assert found == expected
    return found


@given(name=st.sampled_from(sorted(STREAMS)), seed=st.integers(0, 2**32))
def test_tampered_streams_are_refused_by_both(golden, golden_files, name, seed):
    stream = mutate(np.random.default_rng(seed), STREAMS[name])
    found = outcome(golden, stream, golden_files)
    assert not found or stream == STREAMS[name]


@settings(max_examples=50)
@given(name=st.sampled_from(["one", "noise", "voice-1"]), seed=st.integers(0, 2**32))
def test_payloads_that_lie_are_refused_by_both(golden, golden_files, name, seed):
    header, at = Header.unpack(STREAMS[name])
    start, count = STREAMS[name][:at], golden.codec.count_chunks(header.samples)
    first, *rest = unpack_chunks(STREAMS[name], at, count)
    payloads = [mutate(np.random.default_rng(seed), first), *rest]
    stream = start + b"".join(pack_chunk(start, n, part) for n, part in enumerate(payloads))
    found = outcome(golden, stream, golden_files)
    assert found is None or stream == STREAMS[name]


def test_the_program_writes_samples_or_says_why_not(golden, tmp_path):
    source, target, model = tmp_path / "a.ecc", tmp_path / "a.wav", golden.trained.path

    def run(*models: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROGRAM), str(source), str(target), *map(str, models)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    source.write_bytes(STREAMS["voice-0"][:-1])
    cut = run(model)
    assert cut.returncode == 1 and cut.stderr.count("\n") == 1 and "chunk 1" in cut.stderr
    source.write_bytes(STREAMS["voice-0"])
    unknown = run(source)
    assert unknown.returncode == 1 and "none of the model files is 9a201b" in unknown.stderr
    assert not target.exists()
    assert run(model).returncode == 0
    with wave.open(str(target)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        decoded = file.readframes(file.getnframes())
    assert decoded == audio.to_int16(golden.decode(STREAMS["voice-0"])).tobytes()
