"""Stage `tokens`: train a model of the tokens of a trained codec, for post-hoc entropy coding."""

import hashlib
import json
from pathlib import Path

import consent
import script
from ecc import resolved
from ecc.files import sha256_of
from ecc.fingerprint import Code
from ecc.model.config import CodecConfig
from ecc.model.weights import ModelError
from ecc.train.checkpoint import CheckpointError
from ecc.train.config import TrainConfig
from ecc.train.tokens import TokenRun, train_tokens
from ecc.train.trainer import TrainingDivergedError, begun

SOURCE = Path(__file__).parents[2] / "src"


def main(model: str) -> None:
    """Train the token model MODEL, or go on where a killed training of it stopped."""
    config = resolved.config(f"tokens/{model}")
    base = Path("data/models") / f"{config['base']}.safetensors"
    corpus = json.loads(Path(f"data/corpus/training/{model}.json").read_text("utf-8"))
    # A checkpoint of fewer cycles is one to go on from.
    told = {k: v for k, v in config["train"].items() if k != "cycles"}
    follows = [{**config, "train": told}, corpus, sha256_of(base), resolved.code("tokens")]
    versions = Code([SOURCE], frozenset({"ecc"})).software([Path(__file__)])
    run = TokenRun(
        name=model,
        codec=CodecConfig.model_validate(config["codec"]),
        train=TrainConfig(**config["train"], **resolved.unbound()["train"][model]),
        lmbda=[],
        manifest=Path("data/corpus/manifest.csv"),
        speech=Path("data/speech"),
        checkpoints=Path("data/checkpoints") / model,
        logs=Path("reports/training") / model,
        weights=Path("data/models") / config["variant"] / f"{model}.safetensors",
        identity=hashlib.sha256(json.dumps(follows).encode()).hexdigest(),
        sources=list(corpus["sources"]),
        software=versions,
        base=base,
    )
    consent.require(lambda: begun(run))
    train_tokens(run)
    resolved.note_training(model, config, versions)


if __name__ == "__main__":
    script.run(main, CheckpointError, ModelError, TrainingDivergedError, ValueError)
