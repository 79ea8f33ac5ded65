"""The core codes alike on every version of Python that pyproject.toml names."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import soundfile
from golden.conftest import FOLDER, golden_model

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSIONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
# Where pyenv and uv have theirs, which need not be on the path.
PLACES = ("~/.pyenv/versions/{}.*/bin/python3", "~/.local/share/uv/python/cpython-{}.*/bin/python3")
ECC = "from ecc.cli import run; run()"


def test_the_first_version_is_the_oldest_that_is_allowed() -> None:
    assert PROJECT["requires-python"] == f">={VERSIONS[0]}"


@pytest.mark.slow  # downloads the packages of the core
@pytest.mark.parametrize("version", VERSIONS)
def test_it_codes_with_the_newest_packages_that_are_allowed(version, tmp_path, voice):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", tmp_path / "site"]
    pip += ["--python-version", version, "--only-binary=:all:", *PROJECT["dependencies"]]
    subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)

    def run(*arguments: str | Path) -> str:
        path = os.pathsep.join(map(str, (tmp_path / "site", ROOT / "src")))
        return subprocess.run(
            [python, "-W", "error::DeprecationWarning", *arguments], cwd=tmp_path, check=True,
            env={"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip

    model = golden_model(tmp_path)
    assert run(ROOT / "tests/core_worker.py", model, FOLDER) == "9 streams\n"
    soundfile.write(tmp_path / "in.wav", voice(0.5), 44100)
    run("-c", ECC, "encode", "in.wav", "a.ecc", "--model", model)
    run("-c", ECC, "decode", "a.ecc", "a.wav", "--model", model)
    assert soundfile.info(tmp_path / "a.wav").samplerate == 16000


def interpreter(version: str) -> str | None:
    """A Python of this version that runs; that of pyenv on the path may be a stand-in."""
    found = [shutil.which(f"python{version}")]
    for place in PLACES:
        folder, pattern = Path("~").expanduser(), place.removeprefix("~/").format(version)
        found += map(str, sorted(folder.glob(pattern)))
    for python in filter(None, found):
        command = [python, "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return python
    return None
