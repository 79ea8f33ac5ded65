"""The examples do what they say, with a small untrained model."""

import subprocess
import sys
from pathlib import Path

import pytest
from model.conftest import LEVELS, raw_codec
from PIL import Image

from ecc import audio
from ecc.model.weights import save_model

ROOT = Path(__file__).parents[1]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(raw_codec(), tmp_path / "tiny.safetensors", "tiny", [1.0] * LEVELS, {})
    return tmp_path / "tiny.safetensors"


def test_a_first_curve_from_a_file_of_speech(model, voice, tmp_path):
    samples = voice(2)
    audio.write(tmp_path / "speech.wav", samples)
    command = [sys.executable, "examples/first_curve.py", str(tmp_path / "speech.wav")]
    command += [str(model), str(tmp_path / "out")]
    lines = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"level {n}" for n in range(LEVELS)]
    for level in range(LEVELS):
        decoded = audio.read(tmp_path / "out" / f"decoded-{level}.wav")
        assert decoded.shape == samples.shape and decoded.any()
    assert min(Image.open(tmp_path / "out" / "curve.png").size) > 100
