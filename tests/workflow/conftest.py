import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIPELINE = """\
stages:
  validate:
    cmd: python workflow/stages/validate.py
    params: [code, models]
    outs:
      - data/configs: {cache: false, persist: true}
      - data/fingerprints: {cache: false, persist: true}
  train:
    foreach: ${models}
    do:
      cmd: python workflow/stages/train.py ${key}
      deps: [data/fingerprints/train.txt, "data/configs/train/${key}.json"]
      outs: ["data/models/${key}.safetensors"]
"""
PARAMS = "code: one\nmodels:\n  a: {lmbda: [1.0]}\n  b: {lmbda: [2.0]}\n"
VALIDATE = """\
import json
from pathlib import Path
from ruamel.yaml import YAML
import script
def main():
    params = YAML(typ="safe").load(Path("params.yaml"))
    for folder in ("data/fingerprints", "data/configs/train"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    Path("data/fingerprints/train.txt").write_text(params["code"])
    for name, told in params["models"].items():
        Path(f"data/configs/train/{name}.json").write_text(json.dumps(told))
script.run(main)
"""
TRAIN = """\
import os, time
from pathlib import Path
import consent, script
def main(model: str):
    consent.require(Path("checkpoint").exists)
    Path("training").touch()
    time.sleep(float(os.environ.get("SECONDS_OF_TRAINING", 0)))
    with Path("ran.log").open("a") as log:
        log.write(f"{model}\\n")
    Path("data/models").mkdir(parents=True, exist_ok=True)
    Path(f"data/models/{model}.safetensors").write_text(model + Path("params.yaml").read_text())
script.run(main)
"""


class Project:
    """A small study with the real safeguards around stand-ins for its stages."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, which a signal can be sent to."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        inherited = {k: v for k, v in os.environ.items() if k not in ("ECC_TRAIN", "DVC_STAGE")}
        return subprocess.Popen(
            command, cwd=self.path, env=inherited | {"PATH": path} | environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
            # Or Ctrl-C would do nothing where the tests run in the background of a shell.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def run(self, *command: str, **environment: str) -> tuple[int, str]:
        """The status that a command ends with and what it prints."""
        started = self.start(*command, **environment)
        output, _ = started.communicate(timeout=120)
        return started.returncode, output

    def __call__(self, *command: str, **environment: str) -> str:
        status, output = self.run(*command, **environment)
        assert status == 0, output
        return output

    def trained(self) -> list[str]:
        """Models trained since this was asked last."""
        log = self.path / "ran.log"
        models = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return models

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.path / name).read_text()
        assert old in text
        (self.path / name).write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small study, run once, pushed and committed."""
    project = Project(tmp_path_factory.mktemp("small"))
    stages = project.path / "workflow" / "stages"
    stages.mkdir(parents=True)
    for name in ("study", "pull.py", "stages/lock.py", "stages/script.py", "stages/consent.py"):
        shutil.copy(ROOT / "workflow" / name, project.path / "workflow" / name)
    (stages / "validate.py").write_text(VALIDATE)
    (stages / "train.py").write_text(TRAIN)
    (project.path / "workflow" / "install").touch()
    (project.path / "workflow" / "preflight.py").touch()
    (project.path / "dvc.yaml").write_text(PIPELINE)
    (project.path / "params.yaml").write_text(PARAMS)
    (project.path / ".dvc").mkdir()
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, project.path / name)
    with (project.path / ".gitignore").open("a") as ignored:
        ignored.write("/ran.log\n/training\n/checkpoint\n")
    project("git", "init", "--quiet")
    project("dvc", "repro", "--quiet")
    assert project.trained() == ["a", "b"]
    project("dvc", "push", "--quiet")
    commit(project)
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """A fresh clone of the small study: no weights, before a pull."""
    made("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    return Project(tmp_path / "clone")


def commit(project: Project) -> None:
    project("git", "add", ".")
    who = ("-c", "user.name=x", "-c", "user.email=x@x")
    project("git", *who, "commit", "--quiet", "-m", "x")


@pytest.fixture
def stage_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of workflow/stages can be imported."""
    monkeypatch.syspath_prepend(ROOT / "workflow" / "stages")
