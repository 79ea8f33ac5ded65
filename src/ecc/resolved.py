"""What a stage is told: files that `workflow/stages/validate.py` makes of params.yaml and code.

A stage reads them in place of params.yaml, and depends on those that it reads. `unbound` alone is
what no stage depends on, since no result follows from it.
"""

import hashlib
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


def corpus(model: str) -> Any:
    """What identifies the speech that a model is trained on; its `sources` by name."""
    return json.loads(Path(f"data/corpus/training/{model}.json").read_text(encoding="utf-8"))


def training(stage: str, model: str, *also: str) -> dict[str, Any]:
    """What a training of the stage `train` or `tokens` reads and writes, as `ecc.train.trainer.Run`
    has it. The identity of its checkpoint is all that it is told, its corpus, its code, and `also`.
    """
    told = config(f"{stage}/{model}")
    # A checkpoint of fewer cycles is one to go on from.
    train = {key: value for key, value in told["train"].items() if key != "cycles"}
    heard = corpus(model)
    follows = [{**told, "train": train}, heard, *also, code(stage)]
    return {
        "name": model,
        "manifest": Path("data/corpus/manifest.csv"),
        "speech": Path("data/speech"),
        "checkpoints": Path("data/checkpoints") / model,
        "logs": Path("reports/training") / model,
        "weights": Path("data/models") / told["variant"] / f"{model}.safetensors",
        "identity": hashlib.sha256(json.dumps(follows).encode()).hexdigest(),
        "sources": list(heard["sources"]),
    }


def note_training(model: str, config: Any, software: Mapping[str, str]) -> None:
    """Note in reports/models what a model was trained with: what it was told, and which versions of
    libraries."""
    with atomic_path(MODELS / f"{model}.json") as temporary:
        content = {"config": config, "software": software}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
