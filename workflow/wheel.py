"""Build a wheel of the package that carries the default model: what codes needs nothing else.

    python workflow/wheel.py dist

The model is data/models/ecc/ecc.safetensors, as `dvc pull` brings it or the study trained it.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from ecc.model.files import DEFAULT, ModelError, read_model
from ecc.runtime.codec import load_coder

ROOT = Path(__file__).resolve().parents[1]
MODEL = Path("data/models") / DEFAULT / f"{DEFAULT}.safetensors"
FILES = ("pyproject.toml", "README.md", "LICENSE")


def main(
    out: Annotated[Path, typer.Argument(help="Folder that the wheel is written to.")],
    model: Annotated[Path, typer.Option(help="Model that becomes the default one.")] = MODEL,
) -> None:
    """Build the wheel from a copy of the sources, beside which the model is put."""
    try:
        load_coder(read_model(model))
    except ModelError as error:
        sys.exit(f"wheel: {error}; `dvc pull data/models` brings the trained ones")
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in FILES:
            shutil.copy(ROOT / name, copy)
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / "src", copy / "src", ignore=ignore)
        (copy / "src/ecc/models").mkdir()
        shutil.copy(model, copy / f"src/ecc/models/{DEFAULT}.safetensors")
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
        if subprocess.run([*pip, out.resolve(), copy], check=False).returncode:
            sys.exit("wheel: pip cannot build it")


if __name__ == "__main__":
    typer.run(main)
