"""What a stage is told: files that `workflow/stages/validate.py` makes of params.yaml and code.

A stage reads them in place of params.yaml, and depends on those that it reads. `unbound` alone is
what no stage depends on, since no result follows from it.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecc.files import atomic_path

CONFIGS = Path("data/configs")
FINGERPRINTS = Path("data/fingerprints")
MODELS = Path("reports/models")


def config(name: str) -> Any:
    """What data/configs/`name`.json holds.

    Raises `FileNotFoundError`: params.yaml names no such thing, or was not validated since it does.
    """
    return json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))


def unbound() -> Any:
    """How many `workers` there are, and what `train` of each model is told besides."""
    return config("unbound")


def code(stage: str) -> str:
    """The fingerprint of the code of a stage."""
    return (FINGERPRINTS / f"{stage}.txt").read_text(encoding="utf-8")


def note_training(model: str, config: Any, software: Mapping[str, str]) -> None:
    """Note in reports/models what a model was trained with: what it was told, and which versions of
    libraries."""
    with atomic_path(MODELS / f"{model}.json") as temporary:
        content = {"config": config, "software": software}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@contextmanager
def one_line(stage: str, *errors: type[Exception]) -> Iterator[None]:
    """End the script of `stage`, such as encode@opus, with one line and status 1 where one of
    `errors` is raised, or a file that another stage writes is missing."""
    try:
        yield
    except FileNotFoundError as error:
        what = error.filename or error
        sys.exit(
            f"{stage}: {what} is missing. `dvc repro {stage}` makes all that it needs, and "
            "workflow/study the whole study; is the name in params.yaml?"
        )
    except errors as error:
        sys.exit(f"{stage}: {error}")
