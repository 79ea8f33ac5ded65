"""Stage `encode`: encode the test sets at all operating points of one codec."""

import json
from pathlib import Path

import script
from ecc import resolved
from ecc.evaluate.coding import encode_test_sets
from ecc.tables import read_table


def main(codec: str) -> None:
    """Encode with CODEC of params.yaml, or go on where a killed run of it stopped."""
    test_sets = Path("data/corpus/test_sets")
    config = resolved.config(f"codecs/{codec}")
    weights = Path(f"data/inputs/weights/{codec}.txt").read_text(encoding="utf-8")
    reason = encode_test_sets(
        name=codec,
        spec=config["class"],
        points=config["points"],
        test_sets={name: read_table(test_sets / f"{name}.csv") for name in config["test_sets"]},
        speech=test_sets,
        out=Path("data/streams") / codec,
        code=resolved.code(f"encode-{codec}") + json.dumps(config["files"]) + weights,
        workers=resolved.unbound()["workers"],
    )
    if reason:
        print(f"{codec} takes no part: {reason}")


if __name__ == "__main__":
    script.run(main, ValueError)
