"""Training takes hours: DVC must not begin one for want of weights that a pull would bring."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ruamel.yaml import YAML

import lock

# What changes without anybody who wants to train.
CODE = {"data/fingerprints/train.txt", "data/fingerprints/tokens.txt"}


def require(begun: Callable[[], bool]) -> None:
    """Exit, in one line, if DVC is about to begin a training that nobody asked for.

    One is asked for by a person who runs the stage's script, by ECC_TRAIN=1, by a model that is
    new to dvc.lock, or that is told or hears something else than there; and one that has `begun`
    goes on.
    """
    stage = os.environ.get("DVC_STAGE")  # as DVC tells what it runs
    if stage is None or os.environ.get("ECC_TRAIN") == "1":
        return
    changed = set(changes(stage))
    if changed - CODE or begun():
        return
    if changed:
        why = "Only the code of training changed; "
    else:
        why = "Its weights are missing, and nothing that they follow from has changed; "
    sys.exit(
        f"{stage}: stopped before training. {why}`dvc pull` brings the weights of dvc.lock. To "
        "train, which may take hours: `workflow/study --train`, or set ECC_TRAIN=1"
    )


def changes(stage: str) -> Iterator[str]:
    """What a stage depends on and is not as dvc.lock notes it; of a new stage, its own name."""
    noted = YAML(typ="safe").load(lock.guard()) or {}
    entry = noted.get("stages", {}).get(stage)
    if entry is None:
        yield stage
        return
    for dep in entry["deps"]:
        path = Path(dep["path"])
        # DVC runs no stage before all it depends on is there: what is not was of an earlier form.
        if path.exists() and hashlib.md5(path.read_bytes()).hexdigest() != dep["md5"]:
            yield dep["path"]
