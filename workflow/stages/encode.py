"""Stage `encode`: encode the test sets at all operating points of one codec."""

import sys
from pathlib import Path

import typer

from ecc import params
from ecc.evaluate.coding import encode_test_sets
from ecc.tables import read_table


def main(codec: str) -> None:
    """Encode with CODEC of params.yaml, or go on where a killed run of it stopped."""
    study = params.load()
    if codec not in study.codecs:
        sys.exit(f"encode: no codec {codec!r} in params.yaml, known are: {', '.join(study.codecs)}")
    config = study.codecs[codec]
    try:
        reason = encode_test_sets(
            name=codec,
            config=config,
            points=study.points(codec),
            test_sets={
                name: read_table(Path("data/corpus/test_sets") / f"{name}.csv")
                for name in study.coded_by(codec)
            },
            speech=Path("data/speech"),
            out=Path("data/streams") / codec,
            code=Path(f"data/fingerprints/encode-{codec}.txt").read_text(encoding="utf-8"),
            workers=study.score.workers,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"encode {codec}: {error}")
    if reason:
        print(f"{codec} takes no part: {reason}")


if __name__ == "__main__":
    typer.run(main)
