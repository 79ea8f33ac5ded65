"""Join the fetched sources and sample the test sets: `python workflow/stages/corpus.py`."""

import sys
from pathlib import Path

from ecc import params
from ecc.data.corpus import CorpusError, build


def main() -> None:
    """Write data/corpus from data/speech."""
    study = params.load()
    sources = {name: study.sources[name] for name in study.study.sources}
    test_sets = {name: study.test_sets[name] for name in study.study.test_sets}
    try:
        manifest = build(sources, test_sets, Path("data/speech"), Path("data/corpus"))
    except CorpusError as error:
        sys.exit(str(error))
    hours = manifest.groupby("split")["seconds"].sum() / 3600
    speakers = manifest.groupby("split")["speaker"].nunique()
    for split in hours.index:
        print(f"{split}: {hours[split]:.2f} h, {speakers[split]} speakers")


if __name__ == "__main__":
    main()
