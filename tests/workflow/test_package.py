"""Sdist and wheel: what is in them, and that one codes where nothing else is installed."""

import lzma
import runpy
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from golden.conftest import MODEL

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workflow/package.py"
# What may lie in a clone and must not leave it.
OTHERS = ("data/speech/a.flac", "node_modules/a/a.js", "reports/html/a.wav", "tests/test_a.py")


@pytest.mark.slow  # downloads and installs NumPy and a few more
def test_a_wheel_and_a_file_of_speech_are_enough(tmp_path, voice):
    model = tmp_path / "model.safetensors"
    model.write_bytes(lzma.decompress(MODEL.read_bytes()))
    build = [sys.executable, SCRIPT, tmp_path / "dist", "--model", model]
    built = subprocess.run(build, check=True, capture_output=True, text=True).stdout.split()
    (sdist, wheel) = sorted(built, key=lambda name: name.endswith(".whl"))
    with tarfile.open(sdist) as tar:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in tar.getnames()}
    expected = {"src", "PKG-INFO", "setup.cfg", *runpy.run_path(str(SCRIPT))["FILES"]}
    assert {name.partition("/")[0] for name in names} - {"."} == expected
    assert "src/ecc/shipped.csv" in names and "src/ecc/models/ecc.safetensors" in names

    venv.create(tmp_path / "empty", with_pip=True)
    programs = tmp_path / "empty/bin"
    subprocess.run([programs / "pip", "install", "--quiet", wheel], check=True)
    installed = subprocess.run(
        [programs / "pip", "list", "--format", "freeze"], check=True, capture_output=True, text=True
    ).stdout
    assert "numpy" in installed and "torch" not in installed and "scipy" not in installed

    samples = np.stack([voice(1.0, 0), voice(1.0, 1)], axis=1)
    soundfile.write(tmp_path / "in.wav", samples, 48000)
    for command in (
        ["encode", "in.wav", "a.ecc"],
        ["decode", "a.ecc", "out.wav"],
        ["models"],
        ["models", "fetch", "--help"],
    ):
        subprocess.run([programs / "ecc", *command], check=True, cwd=tmp_path, env={})
    assert soundfile.info(tmp_path / "out.wav").frames == -(-len(samples) // 3)


@pytest.mark.slow  # downloads what builds it
def test_an_sdist_of_a_clone_in_use_has_nothing_of_its_use(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-local", "--depth", "1", ROOT.as_uri(), clone])
    for name in OTHERS:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("not to be passed on")
    venv.create(tmp_path / "tools", with_pip=True)
    python = tmp_path / "tools/bin/python"
    tools = runpy.run_path(str(SCRIPT))["TOOLS"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *tools], check=True)
    build = [python, "-m", "build", "--outdir", tmp_path, clone]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (sdist,) = tmp_path.glob("*.tar.gz")
    assert sdist.stat().st_size < 1e6
    with tarfile.open(sdist) as tar:
        names = [name.partition("/")[2] for name in tar.getnames()]
    assert not {name.partition("/")[0] for name in names} & {name.split("/")[0] for name in OTHERS}


@pytest.fixture
def check_tag() -> Callable[[Path], None]:
    return runpy.run_path(str(SCRIPT))["check_tag"]


def test_a_release_is_of_the_tag_of_its_version(tmp_path, check_tag):
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@x")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True)

    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    git("init", "--quiet")
    with pytest.raises(SystemExit, match="changes that are not committed"):
        check_tag(tmp_path)
    git("add", ".")
    git("commit", "--quiet", "-m", "x")
    with pytest.raises(SystemExit, match=r"is of 1\.2\.3, whose tag is v1\.2\.3; here: none"):
        check_tag(tmp_path)
    git("tag", "v1.2.2")
    with pytest.raises(SystemExit, match=r"here: v1\.2\.2"):
        check_tag(tmp_path)
    git("tag", "v1.2.3")
    check_tag(tmp_path)
