"""Fetch one source of speech: `python workflow/stages/fetch.py SOURCE`."""

from pathlib import Path

from pydantic import TypeAdapter

import script
from ecc import resolved
from ecc.audio import AudioError
from ecc.data.fetch import fetch
from ecc.data.sources import AnySource
from ecc.data.sources.base import Source, SourceError
from ecc.files import ChecksumError


def main(name: str) -> None:
    """Write data/speech/NAME; NAME is one of `study.sources` in params.yaml."""
    declared = resolved.config(f"sources/{name}")["declared"]
    source: Source = TypeAdapter(AnySource).validate_python(declared)
    reason = fetch(name, source, Path("data/speech"), Path("data/downloads"))
    if reason:
        print(
            f"{name} cannot be reached ({reason}). The study goes on without it; "
            f"to leave it out, remove {name} from study.sources in params.yaml"
        )


if __name__ == "__main__":
    script.run(main, AudioError, ChecksumError, SourceError)
