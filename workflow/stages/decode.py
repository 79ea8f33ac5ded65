"""Stage `decode`: decode the streams of one codec in fresh processes."""

import json
from pathlib import Path

import script
from ecc import resolved
from ecc.errors import CodecUnavailable
from ecc.evaluate.coding import decode_streams


def main(codec: str) -> None:
    """Decode the streams of CODEC, or go on where a killed run stopped."""
    files = resolved.config(f"codecs/{codec}")["files"]
    weights = Path(f"data/inputs/weights/{codec}.txt").read_text(encoding="utf-8")
    reason = decode_streams(
        streams=Path("data/streams") / codec,
        out=Path("data/decoded") / codec,
        code=resolved.code(f"decode-{codec}") + json.dumps(files) + weights,
        workers=resolved.unbound()["workers"],
    )
    if reason:
        print(f"{codec} takes no part: {reason}")


if __name__ == "__main__":
    script.run(main, ValueError, CodecUnavailable)
