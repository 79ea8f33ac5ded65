"""What codes needs none of the packages of the study."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from golden.conftest import golden_model
from model.test_rvq import TOKENS
from model.test_rvq import raw_codec as rvq_codec

from ecc.model.weights import save_model

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Every import of what is not there raises, as it would where only the core is installed.
BLOCKED = """
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
from ecc.cli import app
app()
"""
LOAD = """
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
import ecc, numpy
codec = ecc.load(sys.argv[1])
stream = codec.encode(numpy.zeros(1000, numpy.float32))
assert codec.decode(stream).shape == (1000,)
"""


def distributions(requirements: list[str]) -> set[str]:
    """Names of the packages, and of those that they need."""
    found: set[str] = set()
    pending = [r for r in requirements if "extra ==" not in r]
    while pending:
        name = re.match(r"[\w.-]+", pending.pop())[0].lower().replace("_", "-")
        if name not in found:
            found.add(name)
            try:
                needed = metadata.requires(name) or []
            except metadata.PackageNotFoundError:  # of other systems
                continue
            pending += [r for r in needed if "extra ==" not in r]
    return found


@pytest.fixture(scope="module")
def blocked() -> list[str]:
    """What can be imported here but does not come with the core."""
    core = distributions(PROJECT["dependencies"])
    assert "numpy" in core and "torch" not in core
    return [
        module
        for module, names in metadata.packages_distributions().items()
        if module != "ecc" and not core & {name.lower().replace("_", "-") for name in names}
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, voice) -> Path:
    folder = tmp_path_factory.mktemp("core")
    golden_model(folder).rename(folder / "ecc.safetensors")
    codec = rvq_codec(TOKENS)
    save_model(codec, folder / "rvq.safetensors", "rvq", [], {})
    soundfile.write(folder / "in.wav", np.stack([voice(0.4)] * 2, axis=1), 44100)
    return folder


@pytest.mark.parametrize("model", ["ecc", "rvq"])
def test_commands_need_the_core_alone(folder, blocked, model):
    assert {"torch", "scipy", "pandas", "av"} <= set(blocked)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", BLOCKED.format(blocked=blocked), *arguments]
        done = subprocess.run(
            [*command, "--models", str(folder)], capture_output=True, text=True, cwd=folder
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("encode", "in.wav", f"{model}.ecc", "--model", model)
    run("decode", f"{model}.ecc", f"{model}.wav")
    assert "all whole" in run("inspect", f"{model}.ecc")
    assert {"ecc": "golden", "rvq": "rvq"}[model] in run("models")
    assert soundfile.info(folder / f"{model}.wav").samplerate == 16000


def test_the_api_needs_the_core_alone(folder, blocked):
    command = [sys.executable, "-c", LOAD.format(blocked=blocked), str(folder / "ecc.safetensors")]
    subprocess.run(command, check=True)


def test_no_import_is_undeclared():
    """Every package that the code imports is in pyproject.toml, not only among what others need."""
    declared = {
        re.match(r"[\w.-]+", r)[0].lower().replace("_", "-")
        for requirements in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
        for r in requirements
    }
    of_module = metadata.packages_distributions()
    imports = set()
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]:
        imports |= set(re.findall(r"^ *(?:import|from) (\w+)", path.read_text(), re.M))
    missing = {
        module
        for module in imports - sys.stdlib_module_names
        if module in of_module
        and module != "ecc"
        and not declared & {name.lower().replace("_", "-") for name in of_module[module]}
    }
    assert not missing
