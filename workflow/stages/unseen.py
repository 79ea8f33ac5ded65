"""Stage `unseen`: score a sample of what one codec decoded by metrics that no training heard."""

from pathlib import Path

import script
from ecc import resolved
from ecc.evaluate.scores import sample, score_codec
from ecc.tables import read_table


def main(codec: str) -> None:
    """Score the sample of CODEC, or go on where a killed run stopped."""
    streams, test_sets = Path("data/streams") / codec, Path("data/corpus/test_sets")
    told, coded = resolved.config("unseen"), read_table(streams / "index.csv")["test_set"].unique()
    score_codec(
        streams=streams,
        decoded=Path("data/decoded") / codec,
        test_sets={
            name: sample(read_table(test_sets / f"{name}.csv"), told["utterances"])
            for name in told["test_sets"]
            if name in coded
        },
        speech=test_sets,
        metrics=told["metrics"],
        out=Path("data/unseen") / f"{codec}.csv",
        journal=Path("data/journals") / f"unseen-{codec}.jsonl",
        workers=resolved.unbound()["workers"],
    )


if __name__ == "__main__":
    script.run(main, ValueError)
