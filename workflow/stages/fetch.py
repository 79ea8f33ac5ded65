"""Fetch one source of speech: `python workflow/stages/fetch.py SOURCE`."""

from pathlib import Path

import typer
from pydantic import TypeAdapter

from ecc import resolved
from ecc.audio import AudioError
from ecc.data.fetch import fetch
from ecc.data.sources import AnySource
from ecc.data.sources.base import Source, SourceError
from ecc.files import ChecksumError


def main(name: str) -> None:
    """Write data/speech/NAME; NAME is one of `study.sources` in params.yaml."""
    with resolved.one_line(f"fetch@{name}", AudioError, ChecksumError, SourceError):
        declared = resolved.config(f"sources/{name}")["declared"]
        source: Source = TypeAdapter(AnySource).validate_python(declared)
        reason = fetch(name, source, Path("data/speech"), Path("data/downloads"))
    if reason:
        print(
            f"{name} cannot be reached ({reason}). The study goes on without it; "
            f"to leave it out, remove {name} from study.sources in params.yaml"
        )


if __name__ == "__main__":
    typer.run(main)
