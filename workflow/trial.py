"""Try a change of the recipe: train, code the validation speech, score it, note what came out.

    python workflow/trial.py long-crops train.steps=2000 train.crop.frames=128

trains a model of params.yaml with the changes named, under data/trials/NAME, and writes its points
on the test set `valid` into reports/trials.csv. Trials are no part of the study: they are how its
numbers were chosen, on speakers whom neither training nor the report hears.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from ruamel.yaml import YAML

from ecc import params
from ecc.data.corpus import sample, write_clips
from ecc.evaluate.coding import decode_streams, encode_test_sets
from ecc.evaluate.scores import score_codec
from ecc.files import atomic_path
from ecc.report.rd import rd_table, read_scores
from ecc.tables import read_table, write_table
from ecc.train.trainer import Run, train

TEST_SET = "valid"
CLASS = "ecc.codecs.ecc:EccCodec"
TABLE = Path("reports/trials.csv")
COLUMNS = ["trial", "changes", "steps", "minutes", "lmbda", "kbps"]


def main(
    name: str,
    changes: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
    model: Annotated[str, typer.Option(help="The model of params.yaml to change.")] = "ecc",
) -> None:
    """Run the trial NAME, or go on where a killed run of it stopped."""
    folder = Path("data/trials") / name
    try:
        study = _changed(changes or [], folder / "params.yaml")
        config, codec, training = study.model(model)
    except (params.ParamsError, ValueError) as error:
        sys.exit(f"trial {name}: {error}")
    # However long the study trains the model, a trial is one cycle of the steps that it names.
    training = training.model_copy(update={"cycles": 1})
    inputs = [codec.model_dump(mode="json"), training.model_dump(mode="json"), config.lmbda]
    run = Run(
        name=name,
        codec=codec,
        train=training,
        lmbda=config.lmbda,
        manifest=Path("data/corpus/manifest.csv"),
        speech=Path("data/speech"),
        checkpoints=folder,
        logs=folder / "logs",
        weights=folder / "model.safetensors",
        identity=hashlib.sha256(json.dumps(inputs).encode()).hexdigest(),
    )
    train(run)

    points = {
        f"{lmbda:g}": {"model": str(run.weights), "level": level}
        for level, lmbda in enumerate(config.lmbda)
    }
    speech = folder / "test_sets"
    clips = sample(read_table(run.manifest), study.test_sets[TEST_SET])
    write_clips(speech / TEST_SET, clips, run.speech)
    test_sets = {TEST_SET: read_table(speech / f"{TEST_SET}.csv")}
    workers, metrics = study.score.workers, study.score.metrics
    streams, decoded = folder / "streams", folder / "decoded"
    encode_test_sets(name, CLASS, points, test_sets, speech, streams, run.identity, workers)
    decode_streams(streams, decoded, run.identity, workers)
    scores, journal = folder / f"{name}.csv", folder / "scores.jsonl"
    score_codec(streams, decoded, test_sets, speech, metrics, scores, journal, workers)

    table = rd_table(
        read_scores(folder, [name], metrics), [name], [TEST_SET], metrics, study.report
    )
    logged = json.loads((run.logs / "metrics.json").read_text(encoding="utf-8"))
    rows = table.rename(columns={"codec": "trial", "point": "lmbda"}).assign(
        changes=" ".join(changes or []), steps=logged["step"], minutes=logged["seconds"] / 60
    )[[*COLUMNS, *metrics]]
    if TABLE.exists():
        before = read_table(TABLE)
        rows = pd.concat([before[before["trial"] != name], rows])
    write_table(TABLE, rows, digits=4)


def _changed(changes: list[str], path: Path) -> params.Params:
    """params.yaml with `changes`, kept at `path` too."""
    yaml = YAML()
    content = yaml.load(Path("params.yaml"))
    for change in changes:
        keys, separator, value = change.partition("=")
        if not separator:
            raise ValueError(f"{change}: not of the form section.key=value")
        patch: Any = YAML(typ="safe").load(value)
        for key in reversed(keys.split(".")):
            patch = {key: patch}
        params.apply_patch(content, patch)
    with atomic_path(path) as temporary:
        yaml.dump(content, temporary)
    return params.load(path)


if __name__ == "__main__":
    typer.run(main)
