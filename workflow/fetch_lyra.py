"""Fetch the weights of the codec Lyra V2 into data/lyra: `python workflow/fetch_lyra.py`."""

import sys
from pathlib import Path

from ecc.codecs.lyra import fetch_weights
from ecc.data.download import ChecksumError, Unreachable

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
    main()
