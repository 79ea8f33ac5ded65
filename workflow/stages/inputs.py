"""Note the hashes of what each codec uses of other stages: weights, and test sets.

A codec follows its own weights and test sets only: where these stay the same, its notes do, and
nothing of it is done again when another model is trained or another test set is drawn.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import script
from ecc import resolved
from ecc.files import atomic_path, sha256_of

TEST_SETS = Path("data/corpus/test_sets")
NOTES = Path("data/inputs")


def main() -> None:
    """Write data/inputs/{weights,speech}/CODEC.txt: a line `SHA-256  path` for each file."""
    for codec, named in resolved.config("inputs").items():
        note("weights", codec, map(Path, named["weights"]))
        sets = named["test_sets"]
        parts = (TEST_SETS / f"{name}.{end}" for name in sets for end in ("csv", "s16"))
        note("speech", codec, parts)


def note(kind: str, codec: str, paths: Iterable[Path]) -> None:
    """Write one note; of what is named and not there, it says nothing."""
    lines = [f"{sha256_of(path)}  {path}\n" for path in files(paths)]
    with atomic_path(NOTES / kind / f"{codec}.txt") as temporary:
        temporary.write_text("".join(lines) or "nothing\n")  # DVC warns of empty files


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """Those of `paths` that are files, those in folders, and those of the names of several, such as
    the table and the samples of published decodes."""
    for path in paths:
        if path.is_file():
            yield path
            continue
        found = path.iterdir() if path.is_dir() else path.parent.glob(f"{path.name}.*")
        yield from sorted(child for child in found if child.is_file())


if __name__ == "__main__":
    script.run(main)
