"""Stage `decode`: decode the streams of one codec in fresh processes."""

import sys
from pathlib import Path

import typer

from ecc import params
from ecc.errors import CodecUnavailable
from ecc.evaluate.coding import decode_streams


def main(codec: str) -> None:
    """Decode the streams of CODEC, or go on where a killed run stopped."""
    study = params.load()
    try:
        reason = decode_streams(
            streams=Path("data/streams") / codec,
            out=Path("data/decoded") / codec,
            code=Path(f"data/fingerprints/decode-{codec}.txt").read_text(encoding="utf-8"),
            workers=study.score.workers,
        )
    except (OSError, ValueError, CodecUnavailable) as error:
        sys.exit(f"decode {codec}: {error}")
    if reason:
        print(f"{codec} takes no part: {reason}")


if __name__ == "__main__":
    typer.run(main)
