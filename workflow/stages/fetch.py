"""Fetch one source of speech: `python workflow/stages/fetch.py SOURCE`."""

import sys
from pathlib import Path

import typer

from ecc import params
from ecc.audio import AudioError
from ecc.data.fetch import fetch
from ecc.data.sources.base import SourceError
from ecc.files import ChecksumError


def main(name: str) -> None:
    """Write data/speech/NAME; NAME is one of `sources` in params.yaml."""
    sources = params.load().sources
    if name not in sources:
        sys.exit(f"{name}: no such source in params.yaml; there are: {', '.join(sources)}")
    try:
        reason = fetch(name, sources[name], Path("data/speech"), Path("data/downloads"))
    except (AudioError, ChecksumError, SourceError) as error:
        sys.exit(f"{name}: {error}")
    if reason:
        print(
            f"{name} cannot be reached ({reason}). The study goes on without it; "
            f"to leave it out, remove {name} from study.sources in params.yaml"
        )


if __name__ == "__main__":
    typer.run(main)
