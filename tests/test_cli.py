import numpy as np
import pytest
import soundfile
from model.conftest import tiny_codec
from typer.testing import CliRunner

import ecc
from ecc.cli import app
from ecc.model.weights import save_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with one model and one stereo recording at 44.1 kHz."""
    save_model(tiny_codec(), tmp_path / "data/models/ecc/tiny.safetensors", "tiny", 1.0, {})
    t = np.arange(44100) / 44100
    wave = 0.2 * np.stack([np.sin(900 * t), np.sin(1300 * t)], axis=1)
    soundfile.write(tmp_path / "in.wav", wave, 44100)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def test_encode_inspect_decode(folder):
    assert "kbps" in run("encode", "in.wav", "out.ecc", "--model", "tiny")
    assert "16000 (1.000 s" in run("inspect", "out.ecc")
    run("decode", "out.ecc", "out.wav")
    samples, rate = soundfile.read(folder / "out.wav")
    assert (samples.shape, rate) == ((16000,), 16000)


def test_python_says_the_same(folder):
    run("encode", "in.wav", "out.ecc", "--model", "tiny")
    codec = ecc.load("tiny")
    stream = (folder / "out.ecc").read_bytes()
    samples = codec.decode(stream)
    assert samples.shape == (16000,)
    assert codec.bits(stream) == 8 * len(stream)
    with pytest.raises(ValueError, match="NaN"):
        codec.encode(np.full(10, np.nan, np.float32))
    with pytest.raises(ValueError, match="shape"):
        codec.encode(np.zeros((2, 10), np.float32))


def test_models_are_listed(folder):
    assert "tiny" in run("models")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("encode", "none.wav", "x.ecc", "--model", "tiny"), "none.wav: No such file"),
        (("encode", "in.wav", "x.ecc"), "--model is needed, one of: tiny"),
        (("encode", "in.wav", "x.ecc", "--model", "huge"), "no model 'huge'"),
        (("encode", "in.wav", "in.wav", "--model", "tiny"), "--overwrite"),
        (("encode", "text.txt", "x.ecc", "--model", "tiny"), "text.txt: no audio"),
        (("decode", "none.ecc", "x.wav"), "none.ecc: No such file"),
        (("decode", "in.wav", "x.wav"), "in.wav: not an .ecc stream"),
        (("decode", "cut.ecc", "x.wav"), "cut.ecc: truncated"),
        (("decode", "bent.ecc", "x.wav"), "bent.ecc: chunk 0 is damaged"),
        (("decode", "out.ecc", "x.txt"), "x.txt: cannot write"),
        (("decode", "out.ecc", "x.wav", "--models", "nowhere"), "has the id"),
        (("inspect", "text.txt"), "not an .ecc stream"),
        (("models", "--models", "nowhere"), "no models in nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors_are_one_line_and_lose_nothing(folder, arguments, message):
    run("encode", "in.wav", "out.ecc", "--model", "tiny")
    data = (folder / "out.ecc").read_bytes()
    (folder / "cut.ecc").write_bytes(data[:-20])
    (folder / "bent.ecc").write_bytes(data[:-20] + b"?" * 20)
    (folder / "text.txt").write_text("words")
    before = sorted(path.name for path in folder.iterdir())
    output = run(*arguments, code=1)
    assert message in output
    assert output.startswith("ecc: ")
    assert output.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before
