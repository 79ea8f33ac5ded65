import doctest
import io
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from model.conftest import LEVELS, raw_codec
from typer.testing import CliRunner

import ecc
from ecc import streaming
from ecc.cli import app
from ecc.codecs.ecc import EccCodec
from ecc.model.files import ModelError
from ecc.model.weights import save_model
from ecc.stream import Header, StreamError

ROOT = Path(__file__).parents[1]
SECONDS = 20  # three chunks of the tiny model
CHUNK = 131_072  # samples of one


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> EccCodec:
    path = tmp_path_factory.mktemp("models") / "ecc.safetensors"
    save_model(raw_codec(), path, "ecc", [1.0] * LEVELS, {})
    return EccCodec(path, level=1)


@pytest.fixture(scope="module")
def samples(voice) -> np.ndarray:
    return 3 * voice(SECONDS)  # some of it beyond full scale


@pytest.fixture(scope="module")
def whole(codec, samples) -> bytes:
    return codec.encode(samples)


@pytest.fixture
def folder(tmp_path, monkeypatch, codec):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECC_MODELS", str(codec.trained.path.parent))
    return tmp_path


def blocks(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[at : at + size] for at in range(0, len(samples), size)]


def encoded(codec: EccCodec, samples: np.ndarray, size: int, known: bool) -> bytes:
    file = io.BytesIO()
    with ecc.open(file, "w", model=codec, samples=len(samples) if known else None) as writer:
        for block in blocks(samples, size):
            writer.write(block)
    return file.getvalue()


# ---------------------------------------------------------------------- the same as at once


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [1600, CHUNK, 140_001, 10**6])
def test_the_bytes_are_those_of_the_whole(codec, samples, whole, size, known):
    assert encoded(codec, samples, size, known) == whole


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 500])
def test_lengths_around_those_of_chunks(codec, samples, length, known):
    part = samples[:length]
    stream = encoded(codec, part, 30_000, known)
    assert stream == codec.encode(part)
    with ecc.open(io.BytesIO(stream), model=codec) as reader:
        np.testing.assert_array_equal(reader.read(), codec.decode(stream))
        assert reader.samples == length and len(reader.read()) == 0


@pytest.mark.parametrize("size", [3000, CHUNK, 10**6])
def test_the_samples_are_those_of_the_whole(codec, whole, size):
    with ecc.open(io.BytesIO(whole), model=codec) as reader:
        parts: list[np.ndarray] = []
        while len(part := reader.read(size)):
            assert len(part) == size or len(parts) * size + len(part) == reader.samples
            parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts), codec.decode(whole))


def test_blocks_go_on_behind_what_was_read(codec, whole):
    with ecc.open(io.BytesIO(whole), model=codec) as reader:
        parts = [reader.read(100), *reader]
    assert len(parts) == 4
    np.testing.assert_array_equal(np.concatenate(parts), codec.decode(whole))


def test_the_command_makes_the_same_of_a_file(folder, samples):
    soundfile.write("talk.wav", np.stack([samples, samples[::-1]], axis=1) / 4, 44100)
    (example,) = re.findall(r"```python\n(.*?)```", page(), re.DOTALL)
    exec(example, {})
    arguments = ["encode", "talk.wav", "command.ecc", "--level", "1"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert Path("talk.ecc").read_bytes() == Path("command.ecc").read_bytes()


def page() -> str:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    return text.partition("## Piece by piece")[2].partition("\n## ")[0]


def test_the_example_of_the_module(folder, voice):
    result = doctest.testmod(streaming, extraglobs={"samples": voice(1.0)})
    assert result.attempted == 4 and result.failed == 0


# ---------------------------------------------------------------------- piece by piece


def test_a_chunk_is_written_before_the_next_has_come(codec, samples, whole):
    arrived, sizes = io.BytesIO(), []
    file = io.BufferedWriter(arrived)  # and does not wait for more
    with ecc.open(file, "w", model=codec, samples=len(samples)) as writer:
        for block in blocks(samples, 1000):
            writer.write(block)
            sizes.append(len(arrived.getvalue()))
    first = next(at for at, size in enumerate(sizes) if size > sizes[0])
    assert CHUNK < 1000 * (first + 1) < CHUNK + 16 * 128 + 1000
    assert len(set(sizes)) == 4 and sizes[-1] == len(whole)


def test_a_chunk_is_read_before_the_one_behind_the_next_is_there(codec, whole):
    """From a file that may neither be sought nor gives all that it is asked for."""

    class Drip(io.RawIOBase):
        taken = 0

        def read(self, size: int = -1) -> bytes:
            data = whole[self.taken :][: min(size, 7)]
            self.taken += len(data)
            return data

    file = Drip()
    with ecc.open(file, model=codec) as reader:
        header = file.taken
        assert header < 12
        first = reader.read(CHUNK)
        assert file.taken < len(whole)
        rest = reader.read()
    assert file.taken == len(whole)
    np.testing.assert_array_equal(np.concatenate([first, rest]), codec.decode(whole))


def test_through_a_pipe(codec, samples, whole):
    out, into = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))

    def write() -> None:
        with into, ecc.open(into, "w", model=codec, samples=len(samples)) as writer:
            writer.write(samples)

    thread = threading.Thread(target=write)
    thread.start()
    with out, ecc.open(out, model=codec) as reader:
        np.testing.assert_array_equal(reader.read(), codec.decode(whole))
    thread.join()


# ---------------------------------------------------------------------- models


def test_the_model_is_found_as_the_command_finds_it(folder, codec, samples):
    with ecc.open("a.ecc", "w", level=0, skip=3) as writer:
        writer.write(samples[:1000])
    header, _ = Header.unpack(Path("a.ecc").read_bytes())
    assert (header.level, header.skip, header.model_id) == (0, 3, codec.model_id)
    for model in (None, "ecc", str(codec.trained.path)):
        with ecc.open("a.ecc", model=model) as reader:
            assert reader.header == header and len(reader.read()) == 1000
    with pytest.raises(ModelError, match="has the id"):
        ecc.open("a.ecc", models="nowhere")
    with pytest.raises(ModelError, match="no model 'huge'"):
        ecc.open("b.ecc", "w", model="huge")
    with pytest.raises(ValueError, match="has the levels 0 to 2"):
        ecc.open("b.ecc", "w", level=7)
    assert [path.name for path in folder.iterdir()] == ["a.ecc"]


def test_a_stream_of_another_model(folder, codec, whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "other.safetensors"
    save_model(raw_codec(slices=2), path, "other", [1.0] * LEVELS, {})
    with pytest.raises(StreamError, match="made by model"):
        ecc.open(io.BytesIO(whole), model=EccCodec(path))


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("known", [True, False])
def test_a_file_is_whole_or_not_there(folder, codec, samples, known):
    Path("a.ecc").write_bytes(b"before")
    with pytest.raises(KeyError), ecc.open("a.ecc", "w", samples=1000 if known else None) as writer:
        writer.write(samples[:1000])
        raise KeyError
    assert Path("a.ecc").read_bytes() == b"before"
    assert [path.name for path in folder.iterdir()] == ["a.ecc"]


def test_what_was_promised_is_written(folder, codec, samples):
    few = pytest.raises(ValueError, match="1000 samples were written of the 1001 promised")
    with few, ecc.open("a.ecc", "w", samples=1001) as writer:
        writer.write(samples[:1000])
    many = pytest.raises(ValueError, match="more than the 999 samples that were promised")
    with many, ecc.open("a.ecc", "w", samples=999) as writer:
        writer.write(samples[:1000])
    assert not list(folder.iterdir())


def test_samples_that_cannot_be_coded(codec):
    writer = ecc.open(io.BytesIO(), "w", model=codec)
    with pytest.raises(ValueError, match="shape"):
        writer.write(np.zeros((2, 10)))
    with pytest.raises(ValueError, match="NaN"):
        writer.write([0, np.nan])
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write([0.0])
    with pytest.raises(ValueError, match="to read"):
        ecc.open(io.BytesIO(), "a", model=codec)


def test_damage_raises_what_decoding_the_whole_raises(codec, whole):
    _, at = Header.unpack(whole)
    tried = {
        "no stream": b"no stream",
        "header": whole[:5],
        "length": whole[:at],
        "varint": whole[:at] + b"\xff" * 7,
        "payload": whole[: at + 20],
        "checksum": whole[: at + 2] + bytes([whole[at + 2] ^ 1]) + whole[at + 3 :],
        "symbols": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
        "end": whole[:-1],
        "behind": whole + b"?",
    }
    for name, stream in tried.items():
        with pytest.raises(StreamError) as at_once:
            codec.decode(stream)
        with (
            pytest.raises(StreamError) as later,
            ecc.open(io.BytesIO(stream), model=codec) as r,
        ):
            r.read()
        if name not in ("varint", "behind"):
            assert str(later.value) == str(at_once.value), name


def test_what_lies_before_damage_is_given(codec, whole):
    cut = io.BytesIO(whole[:-1])
    with ecc.open(cut, model=codec) as reader:
        np.testing.assert_array_equal(reader.read(CHUNK), codec.decode(whole)[:CHUNK])
        with pytest.raises(StreamError, match="cut short in chunk 3 of 3"):
            reader.read()
