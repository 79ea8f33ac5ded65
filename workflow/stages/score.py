"""Stage `score`: score the decoded utterances of one codec against their references."""

import sys
from pathlib import Path

import typer

from ecc import params
from ecc.evaluate.scores import score_codec
from ecc.tables import read_table


def main(codec: str) -> None:
    """Score CODEC, or go on where a killed run stopped."""
    study = params.load()
    try:
        score_codec(
            streams=Path("data/streams") / codec,
            decoded=Path("data/decoded") / codec,
            test_sets={
                name: read_table(Path("data/corpus/test_sets") / f"{name}.csv")
                for name in study.study.test_sets
            },
            speech=Path("data/speech"),
            metrics=study.score.metrics,
            out=Path("data/scores") / f"{codec}.csv",
            journal=Path("data/journals") / f"{codec}.jsonl",
            workers=study.score.workers,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"score {codec}: {error}")


if __name__ == "__main__":
    typer.run(main)
