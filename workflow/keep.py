"""Keep the scores of a long run, so that the report can compare later ones with it:

    python workflow/keep.py 10000-steps

copies what the study now says of `report.codec` to reports/runs/. Named in `report.runs`, the run
has its row in the report.
"""

import sys
from pathlib import Path

import typer

from ecc import params
from ecc.report.rd import read_scores
from ecc.report.runs import METRICS, keep


def main(name: str) -> None:
    """Keep it under NAME."""
    codec = params.load().report.codec
    try:
        keep(name, read_scores(Path("data/scores"), [codec], METRICS), Path("reports/runs"))
    except (OSError, KeyError) as error:
        sys.exit(f"keep {name}: {error}")


if __name__ == "__main__":
    typer.run(main)
