"""Stage `score`: score the decoded utterances of one codec against their references."""

from pathlib import Path

import script
from ecc import resolved
from ecc.evaluate.scores import score_codec
from ecc.tables import read_table


def main(codec: str) -> None:
    """Score CODEC, or go on where a killed run stopped."""
    streams, test_sets = Path("data/streams") / codec, Path("data/corpus/test_sets")
    coded = read_table(streams / "index.csv")["test_set"].unique()
    score_codec(
        streams=streams,
        decoded=Path("data/decoded") / codec,
        test_sets={name: read_table(test_sets / f"{name}.csv") for name in coded},
        speech=test_sets,
        metrics=resolved.config("score")["metrics"],
        out=Path("data/scores") / f"{codec}.csv",
        journal=Path("data/journals") / f"{codec}.jsonl",
        workers=resolved.unbound()["workers"],
    )


if __name__ == "__main__":
    script.run(main, ValueError)
