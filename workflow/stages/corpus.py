"""Join the fetched sources and sample the test sets: `python workflow/stages/corpus.py`."""

from pathlib import Path

from pydantic import TypeAdapter

import script
from ecc import resolved
from ecc.data.corpus import CorpusError, TestSet, build
from ecc.data.sources import AnySource
from ecc.data.sources.base import Source


def main() -> None:
    """Write data/corpus from data/speech."""
    config = resolved.config("corpus")
    sources: dict[str, Source] = {
        name: TypeAdapter(AnySource).validate_python(resolved.config(f"sources/{name}")["declared"])
        for name in config["sources"]
    }
    test_sets = {name: TestSet(**values) for name, values in config["test_sets"].items()}
    folders = Path("data/speech"), Path("data/corpus")
    manifest = build(sources, test_sets, config["training"], *folders)
    hours = manifest.groupby("split")["seconds"].sum() / 3600
    speakers = manifest.groupby("split")["speaker"].nunique()
    for split in hours.index:
        print(f"{split}: {hours[split]:.2f} h, {speakers[split]} speakers")


if __name__ == "__main__":
    script.run(main, CorpusError)
