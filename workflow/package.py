"""Build the package, sdist and wheel, with the default model in it: what codes needs nothing else.

    python workflow/package.py dist
    python workflow/package.py dist --release    # only what the tag of this version names

The model is data/models/ecc/ecc.safetensors, as `dvc pull` brings it or the study trained it. The
tools that build and check are installed into an environment of their own, and go with it.
"""

import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from ecc.model.files import DEFAULT, ModelError, read_model
from ecc.runtime.codec import load_coder

ROOT = Path(__file__).resolve().parents[1]
MODEL = Path("data/models") / DEFAULT / f"{DEFAULT}.safetensors"
FILES = (
    *("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"),
    *("CHANGELOG.md", "CITATION.cff", "MODEL_CARD.md"),
)
TOOLS = ("build==1.6.1", "twine==7.0.0")


def main(
    out: Annotated[Path, typer.Argument(help="Folder that sdist and wheel are written to.")],
    model: Annotated[Path, typer.Option(help="Model that becomes the default one.")] = MODEL,
    release: Annotated[
        bool, typer.Option("--release", help="Refuse what the tag of this version does not name.")
    ] = False,
) -> None:
    """Build both from a copy of the sources, beside which the model is put, and check them."""
    if release:
        check_tag(ROOT)
    try:
        load_coder(read_model(model))
    except ModelError as error:
        sys.exit(f"package: {error}; `dvc pull data/models` brings the trained ones")
    with TemporaryDirectory() as folder:
        copy, built, tools = (Path(folder, name) for name in ("copy", "built", "tools"))
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / "src", copy / "src", ignore=ignore)
        for name in FILES:
            shutil.copy(ROOT / name, copy)
        (copy / "src/ecc/models").mkdir()
        shutil.copy(model, copy / f"src/ecc/models/{DEFAULT}.safetensors")
        venv.create(tools, with_pip=True)
        python = tools / "bin/python"
        _run("install the tools", python, "-m", "pip", "install", "--quiet", *TOOLS)
        _run("build", python, "-m", "build", "--outdir", built, copy)
        files = sorted(built.iterdir())
        _run("pass what was built", python, "-m", "twine", "check", "--strict", *files)
        out.mkdir(parents=True, exist_ok=True)
        for file in files:
            print(shutil.copy(file, out))


def check_tag(root: Path) -> None:
    """Exit unless the clone in `root` is as the commit is that the tag of its version names."""
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    if _git(root, "status", "--porcelain"):
        sys.exit("package: there are changes that are not committed")
    tags = _git(root, "tag", "--points-at", "HEAD").split()
    if f"v{version}" not in tags:
        named = ", ".join(tags) or "none"
        sys.exit(f"package: pyproject.toml is of {version}, whose tag is v{version}; here: {named}")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _run(what: str, *command: str | Path) -> None:
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"package: cannot {what}\n{done.stdout}")


if __name__ == "__main__":
    typer.run(main)
