"""What a stage is told: files that `workflow/stages/validate.py` makes of params.yaml and code.

A stage reads them in place of params.yaml, and depends on those that it reads. `unbound` alone is
what no stage depends on, since no result follows from it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecc.files import atomic_path

CONFIGS = Path("data/configs")
FINGERPRINTS = Path("data/fingerprints")
MODELS = Path("reports/models")
LOGS = Path("reports/training")
CHECKPOINTS = Path("data/checkpoints")


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
    told, heard = config(f"{stage}/{model}"), corpus(model)
    return {
        "name": model,
        "manifest": Path("data/corpus/manifest.csv"),
        "speech": Path("data/speech"),
        "checkpoints": CHECKPOINTS / model,
        "logs": LOGS / model,
        "weights": Path("data/models") / told["variant"] / f"{model}.safetensors",
        "identity": _identity([told], heard, *also, code(stage)),
        "sources": list(heard["sources"]),
    }


def beginnings(model: str) -> list[dict[str, Any]]:
    """The same of the smaller models that the stage `train` trains first (`begins_as`)."""
    run, told = training("train", model), config(f"train/{model}")["begins_as"]
    found = []
    for number in range(1, len(told) + 1):
        name = f"{model}-{number}"
        identity = _identity(told[:number], corpus(model), code("train"))
        weights = CHECKPOINTS / name / f"{identity[:16]}.safetensors"
        own = {"name": name, "checkpoints": CHECKPOINTS / name, "logs": LOGS / name}
        found.append({**run, **own, "weights": weights, "identity": identity})
    return found


def _identity(told: Sequence[Mapping[str, Any]], *also: Any) -> str:
    """A hash of what weights follow from: what trainings one after another were `told`, and more.
    How many cycles the last one has is no part of it: a checkpoint of fewer is one to go on from.
    """
    *first, last = told
    train = {key: value for key, value in last["train"].items() if key != "cycles"}
    follows = [*first, {**last, "train": train}, *also]
    return hashlib.sha256(json.dumps(follows).encode()).hexdigest()


def note_training(model: str, config: Any, software: Mapping[str, str]) -> None:
    """Note in reports/models what a model was trained with: what it was told, and which versions of
    libraries."""
    with atomic_path(MODELS / f"{model}.json") as temporary:
        content = {"config": config, "software": software}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
