"""Stage `diagnose`: take the streams of one codec of ours apart, down to its symbols."""

import json
from pathlib import Path

import script
from ecc import resolved
from ecc.evaluate.codebooks import code_books
from ecc.evaluate.diagnostics import diagnose
from ecc.model.weights import ModelError, load_model
from ecc.tables import REPORTED, read_table, write_table


def main(codec: str) -> None:
    """Write reports/diagnostics/CODEC/*.csv and, for a codec with an entropy model,
    data/diagnostics/CODEC/timeline.csv."""
    streams, test_sets = Path("data/streams") / codec, Path("data/corpus/test_sets")
    (Path("data/diagnostics") / codec).mkdir(parents=True, exist_ok=True)
    workers = resolved.unbound()["workers"]
    points = json.loads((streams / "codec.json").read_text(encoding="utf-8"))["points"]
    model = load_model(next(iter(points.values()))["model"])
    if model.codec.config.rvq.stages:
        tables = {"codebooks": code_books(streams, workers)}
    else:
        coded = read_table(streams / "index.csv")["test_set"].unique()
        clips = {name: read_table(test_sets / f"{name}.csv") for name in coded}
        tables = diagnose(streams, clips, test_sets, workers)
    for name, table in tables.items():
        # A timeline shows speech, which is not versioned with the numbers.
        folder = Path("data" if name == "timeline" else "reports") / "diagnostics" / codec
        write_table(folder / f"{name}.csv", table, REPORTED)


if __name__ == "__main__":
    script.run(main, ValueError, ModelError)
