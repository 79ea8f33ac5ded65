"""Copies of the project in which stages can be run, or be put as if they had."""

import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import fake_stages
import networkx as nx
from dvc.repo import Repo
from ruamel.yaml import YAML

from ecc import params

ROOT = Path(__file__).parents[2]
MINE = "import tabulate\nclass Mine:\n    def __init__(self, weights): ...\n"


class Clone:
    """A clone of the project in which commands run, and what they ran beside `validate`."""

    stages: set[str]

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *command: str, **environment: str) -> str:
        done = self.run(*command, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        folders = [str(self.path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        changes = {"PATH": os.pathsep.join(folders), "PYTHONPATH": str(self.path / "src")}
        return subprocess.run(
            command, cwd=self.path, env=os.environ | changes | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def ran(self, *command: str, **environment: str) -> set[str]:
        log = self.path / "ran.log"
        log.unlink(missing_ok=True)
        self(*command, **environment)
        stages = log.read_text().split() if log.exists() else []
        assert len(stages) == len(set(stages))
        return set(stages)

    def patch(self, patch: dict[str, Any]) -> None:
        """Apply a merge patch to params.yaml."""
        content = YAML(typ="safe").load(self.path / "params.yaml")
        params.apply_patch(content, patch)
        YAML().dump(content, self.path / "params.yaml")

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.path / file).read_text(encoding="utf-8")
        assert old in text
        (self.path / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    def stale(self) -> set[str]:
        """The stages that DVC calls stale, by what has been written; `validate` always is."""
        with chdir(self.path), Repo() as repo:
            return set(repo.status()) - {"validate"}

    def pretend(self) -> set[str]:
        """Put in place what every stage makes, as if DVC had run it; returns the stages' names."""
        self("python", "workflow/stages/validate.py")
        with chdir(self.path), Repo() as repo:
            graph = repo.index.graph
            order = [s.addressing for s in nx.topological_sort(graph.reverse())]
            for stage in order[1:]:
                fake_stages.run(*stage.split("@"))
            repo.commit(force=True)
            return set(order[1:])


def project(path: Path, patch: dict[str, Any], models: dict[str, Any]) -> Clone:
    """A copy of the project with changes of params.yaml, where `python` is Python, except that the
    scripts of stages are stand-ins."""
    clone = Clone(path)
    for name in (
        *("dvc.yaml", "Snakefile", ".dvcignore", ".gitignore", "params.yaml"),
        "package-lock.json",
    ):
        shutil.copy(ROOT / name, path)
    (path / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, path / ".dvc")
    for name in ("src", "workflow"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, path / name, ignore=ignored)
    python = path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/sh\ncase "$1" in\nworkflow/stages/validate.py) ;;\n'
        f'workflow/stages/*) set -- "{fake_stages.__file__}" "$@" ;;\nesac\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    (path / "reports" / "runs").mkdir(parents=True)
    (path / "reports" / "runs" / "first.csv").write_text("codec\n")
    (path / "reports" / "listening").mkdir()
    (path / "reports" / "listening" / "README.md").touch()
    (path / "my_codec.py").write_text(MINE)
    (path / "mine.bin").write_text("weights")
    clone.patch(patch)
    clone.patch(models)
    with (path / ".gitignore").open("a") as ignore:
        ignore.write("ran.log\n")
    clone("git", "init", "--quiet")
    return clone
