"""What a stage is told: files that `workflow/stages/validate.py` makes of params.yaml and code.

A stage reads them in place of params.yaml, and depends on those that it reads. `unbound` alone is
what no stage depends on, since no result follows from it.
"""

import json
from collections.abc import Mapping
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
