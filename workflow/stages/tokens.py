"""Stage `tokens`: train a model of the tokens of a trained codec, for post-hoc entropy coding."""

import hashlib
import json
import sys
from pathlib import Path

import typer

from ecc import params
from ecc.model.weights import ModelError
from ecc.train.tokens import TokenRun, train_tokens
from ecc.train.trainer import TrainingDivergedError


def main(model: str) -> None:
    """Train the token model MODEL, or go on where a killed training of it stopped."""
    study = params.load()
    config, codec, training = study.token_model(model)
    base = Path("data/models") / f"{config.base}.safetensors"
    inputs = {
        "codec": codec.model_dump(mode="json"),
        "train": training.model_dump(mode="json", exclude={"checkpoint_seconds"}),
        "base": hashlib.sha256(base.read_bytes()).hexdigest(),
        "corpus": Path("data/corpus/identity.json").read_text(encoding="utf-8"),
        "code": Path("data/fingerprints/tokens.txt").read_text(encoding="utf-8"),
    }
    run = TokenRun(
        name=model,
        codec=codec,
        train=training,
        lmbda=[],
        manifest=Path("data/corpus/manifest.csv"),
        speech=Path("data/speech"),
        checkpoints=Path("data/checkpoints") / model,
        logs=Path("reports/training") / model,
        weights=Path("data/models") / config.variant / f"{model}.safetensors",
        identity=hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest(),
        base=base,
    )
    try:
        train_tokens(run)
    except (TrainingDivergedError, ModelError, ValueError) as error:
        sys.exit(f"tokens {model}: {error}")


if __name__ == "__main__":
    typer.run(main)
