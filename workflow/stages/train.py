"""Stage `train`: train one model of params.yaml, in `train.processes` processes of torchrun."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ecc import params
from ecc.data.download import Unreachable
from ecc.data.lyra import fetch_weights
from ecc.files import ChecksumError
from ecc.model.weights import ModelError
from ecc.train.tokens import TokenRun, train_tokens
from ecc.train.trainer import Run, TrainingDivergedError, train


def main(model: str, start: Annotated[Path | None, typer.Option("--from")] = None) -> None:
    """Train MODEL, or go on where a killed training of it stopped.

    `--from WEIGHTS` goes on from what an earlier cycle wrote (`train.cycles`), where its checkpoint
    is not at hand: from weights of a copy, say, since `dvc repro` clears the place of its outputs.
    """
    study = params.load()
    config, codec, training = study.model(model)
    if training.processes > 1 and "WORLD_SIZE" not in os.environ:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        options = [] if start is None else ["--from", str(start)]
        processes = f"--nproc-per-node={training.processes}"
        os.execv(sys.executable, [*torchrun, processes, __file__, *options, model])
    corpus = Path("data/corpus/identity.json").read_text(encoding="utf-8")
    facts = json.loads(Path("data/corpus/sources.json").read_text(encoding="utf-8"))
    for source in facts:
        if not source["available"] and source["source"] in json.loads(corpus)["sources"]:
            name = source["source"]
            sys.exit(
                f"train {model}: the source {name} is part of the training corpus and was not "
                f"reached ({source['reason']}); to train without it, remove {name} from "
                "study.sources in params.yaml"
            )
    if codec.transform.kind == "lyra":
        # Here and not as a dependency of the stage, which all models share: what the files hold
        # is pinned in the code.
        try:
            fetch_weights(Path("data/lyra"))
        except (ChecksumError, Unreachable) as error:
            sys.exit(f"train {model}: it stands on the weights of Lyra, and {error}")
    inputs = {
        "codec": codec.model_dump(mode="json"),
        "train": training.model_dump(mode="json", exclude={"checkpoint_seconds", "cycles"}),
        "lmbda": config.lmbda,
        "corpus": corpus,
        "code": Path("data/fingerprints/train.txt").read_text(encoding="utf-8"),
    }
    identity = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    run = Run(
        name=model,
        codec=codec,
        train=training,
        lmbda=config.lmbda,
        manifest=Path("data/corpus/manifest.csv"),
        speech=Path("data/speech"),
        checkpoints=Path("data/checkpoints") / model,
        logs=Path("reports/training") / model,
        weights=Path("data/models") / config.variant / f"{model}.safetensors",
        identity=identity,
        start=start,
    )
    try:
        if codec.rvq.tokens is None:
            train(run)
        else:  # the code books are given, and what is left to learn is how likely tokens are
            train_tokens(TokenRun(**vars(run), base=None))
    except (ModelError, TrainingDivergedError, ValueError) as error:
        sys.exit(f"train {model}: {error}")


if __name__ == "__main__":
    typer.run(main)
