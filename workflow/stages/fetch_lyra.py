"""Fetch the weights of the codec Lyra V2 into data/lyra: `python workflow/stages/fetch_lyra.py`."""

import sys
from pathlib import Path

import script
from ecc.data.download import Unreachable
from ecc.data.lyra import fetch_weights
from ecc.files import ChecksumError

FOLDER = Path("data/lyra")


def main() -> None:
    """Leave the folder empty, or incomplete, where they cannot be had: Lyra then takes no part."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        fetch_weights(FOLDER)
    except ChecksumError as error:
        sys.exit(f"fetch_lyra: {error}")
    except Unreachable as error:
        print(f"The weights of Lyra cannot be reached ({error}). The study goes on without it.")


if __name__ == "__main__":
    script.run(main, ChecksumError)
