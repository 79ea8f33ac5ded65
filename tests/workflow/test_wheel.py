"""The wheel codes in an environment in which nothing else is installed."""

import lzma
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from golden.conftest import MODEL

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # downloads and installs NumPy and a few more
def test_a_wheel_and_a_file_of_speech_are_enough(tmp_path, voice):
    model = tmp_path / "model.safetensors"
    model.write_bytes(lzma.decompress(MODEL.read_bytes()))
    build = [sys.executable, ROOT / "workflow/wheel.py", tmp_path / "dist", "--model", model]
    subprocess.run(build, check=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    venv.create(tmp_path / "empty", with_pip=True)
    programs = tmp_path / "empty/bin"
    subprocess.run([programs / "pip", "install", "--quiet", wheel], check=True)
    installed = subprocess.run(
        [programs / "pip", "list", "--format", "freeze"], check=True, capture_output=True, text=True
    ).stdout
    assert "numpy" in installed and "torch" not in installed and "scipy" not in installed

    samples = np.stack([voice(1.0, 0), voice(1.0, 1)], axis=1)
    soundfile.write(tmp_path / "in.wav", samples, 48000)
    for command in (["encode", "in.wav", "a.ecc"], ["decode", "a.ecc", "out.wav"]):
        subprocess.run([programs / "ecc", *command], check=True, cwd=tmp_path, env={})
    assert soundfile.info(tmp_path / "out.wav").frames == -(-len(samples) // 3)
