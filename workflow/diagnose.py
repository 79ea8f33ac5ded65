"""Stage `diagnose`: take the streams of one codec apart, down to its symbols."""

import sys
from pathlib import Path

import typer

from ecc import params
from ecc.evaluate.coding import read_table
from ecc.evaluate.diagnostics import diagnose
from ecc.files import atomic_path


def main(codec: str) -> None:
    """Write reports/diagnostics/CODEC/*.csv and data/diagnostics/CODEC/timeline.csv."""
    study = params.load()
    try:
        tables = diagnose(
            streams=Path("data/streams") / codec,
            test_sets={
                name: read_table(Path("data/corpus/test_sets") / f"{name}.csv")
                for name in study.study.test_sets
            },
            speech=Path("data/speech"),
            workers=study.score.workers,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"diagnose {codec}: {error}")
    for name, table in tables.items():
        # A timeline shows speech, which is not versioned with the numbers.
        folder = Path("data" if name == "timeline" else "reports") / "diagnostics" / codec
        with atomic_path(folder / f"{name}.csv") as path:
            # Six digits: enough for any use, few enough that a diff shows no rounding.
            table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


if __name__ == "__main__":
    typer.run(main)
