"""Stage `tokens`: train a model of the tokens of a trained codec, for post-hoc entropy coding."""

from pathlib import Path

import consent
import script
from ecc import resolved
from ecc.files import sha256_of
from ecc.fingerprint import Code
from ecc.model.config import CodecConfig
from ecc.model.files import ModelError
from ecc.train.checkpoint import CheckpointError
from ecc.train.config import TrainConfig
from ecc.train.tokens import train_tokens
from ecc.train.trainer import Run, TrainingDivergedError, begun

SOURCE = Path(__file__).parents[2] / "src"


def main(model: str) -> None:
    """Train the token model MODEL, or go on where a killed training of it stopped."""
    config = resolved.config(f"tokens/{model}")
    base = Path("data/models") / f"{config['base']}.safetensors"
    versions = Code([SOURCE], frozenset({"ecc"})).software([Path(__file__)])
    run = Run(
        **resolved.training("tokens", model, sha256_of(base)),
        codec=CodecConfig.model_validate(config["codec"]),
        train=TrainConfig(**config["train"], **resolved.unbound()["train"][model]),
        lmbda=[],
        software=versions,
        base=base,
    )
    consent.require(lambda: begun(run))
    train_tokens(run)
    resolved.note_training(model, config, versions)


if __name__ == "__main__":
    script.run(main, CheckpointError, ModelError, TrainingDivergedError, ValueError)
