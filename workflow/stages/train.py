"""Stage `train`: train one model of params.yaml, in `train.processes` processes of torchrun."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import consent
import script
from ecc import resolved
from ecc.errors import CodecUnavailable
from ecc.fingerprint import Code
from ecc.lyra.models import SHA256, find_weights
from ecc.model.config import CodecConfig
from ecc.model.files import ModelError
from ecc.train.checkpoint import CheckpointError
from ecc.train.config import TrainConfig
from ecc.train.tokens import train_tokens
from ecc.train.trainer import Run, TrainingDivergedError, begun, train

SOURCE = Path(__file__).parents[2] / "src"


def main(model: str, start: Annotated[Path | None, typer.Option("--from")] = None) -> None:
    """Train MODEL, or go on where a killed training of it stopped.

    `--from WEIGHTS` goes on from what an earlier cycle wrote (`train.cycles`), where its checkpoint
    is not at hand: from weights of a copy, say, since `dvc repro` clears the place of its outputs.
    """
    config = resolved.config(f"train/{model}")
    codec = CodecConfig.model_validate(config["codec"])
    unbound = resolved.unbound()["train"][model]
    training = TrainConfig(**config["train"], **unbound)
    if codec.rvq.tokens is not None and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError("a model of tokens is trained in one process, without torchrun")
    heard = resolved.corpus(model)["sources"]
    for source in json.loads(Path("data/corpus/sources.json").read_text("utf-8")):
        if not source["available"] and (name := source["source"]) in heard:
            raise ValueError(
                f"the source {name} is part of the training corpus and was not reached "
                f"({source['reason']}); to train without it, remove {name} from study.sources "
                "in params.yaml"
            )
    if codec.transform.kind == "lyra":
        # Here and not as a dependency of the stage, which all models share: what the files hold
        # is pinned in the code. In another process, because no weight follows from how they come.
        fetch = [sys.executable, str(Path(__file__).with_name("fetch_lyra.py"))]
        subprocess.run(fetch, check=False)
        for name in SHA256:
            find_weights("data/lyra", name)
    versions = Code([SOURCE], frozenset({"ecc"})).software([Path(__file__)])
    run = None
    files = [*resolved.beginnings(model), resolved.training("train", model)]
    for own, part in zip(files, [*config["begins_as"], config], strict=True):
        run = Run(
            **own,
            codec=CodecConfig.model_validate(part["codec"]),
            train=TrainConfig(**part["train"], **unbound),
            lmbda=part["lmbda"],
            software=versions,
            begins_as=run,
        )
    assert run is not None
    run = replace(run, start=start)
    consent.require(lambda: begun(run))
    if training.processes > 1 and "WORLD_SIZE" not in os.environ:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        options = [] if start is None else ["--from", str(start)]
        processes = f"--nproc-per-node={training.processes}"
        os.execv(sys.executable, [*torchrun, processes, __file__, *options, model])
    if codec.rvq.tokens is None:
        train(run)
    else:  # the code books are given, and what is left to learn is how likely tokens are
        train_tokens(run)
    if int(os.environ.get("RANK", 0)) == 0:
        resolved.note_training(model, config, versions)


if __name__ == "__main__":
    script.run(
        main, CheckpointError, CodecUnavailable, ModelError, TrainingDivergedError, ValueError
    )
