"""Stage `diagnose`: take the streams of one codec of ours apart, down to its symbols."""

import sys
from pathlib import Path

import typer

from ecc import params
from ecc.evaluate.codebooks import code_books
from ecc.evaluate.diagnostics import diagnose
from ecc.model.weights import ModelError, load_model
from ecc.tables import REPORTED, read_table, write_table


def main(codec: str) -> None:
    """Write reports/diagnostics/CODEC/*.csv and, for a codec with an entropy model,
    data/diagnostics/CODEC/timeline.csv."""
    study = params.load()
    streams, workers = Path("data/streams") / codec, study.score.workers
    (Path("data/diagnostics") / codec).mkdir(parents=True, exist_ok=True)
    try:
        points = study.points(codec)
        model = load_model(next(iter(points.values()))["model"])
        if model.codec.config.rvq.stages:
            tables = {"codebooks": code_books(streams, workers)}
        else:
            test_sets = {
                name: read_table(Path("data/corpus/test_sets") / f"{name}.csv")
                for name in study.study.test_sets
            }
            tables = diagnose(streams, test_sets, Path("data/speech"), workers)
    except (OSError, ValueError, ModelError) as error:
        sys.exit(f"diagnose {codec}: {error}")
    for name, table in tables.items():
        # A timeline shows speech, which is not versioned with the numbers.
        folder = Path("data" if name == "timeline" else "reports") / "diagnostics" / codec
        write_table(folder / f"{name}.csv", table, REPORTED)


if __name__ == "__main__":
    typer.run(main)
