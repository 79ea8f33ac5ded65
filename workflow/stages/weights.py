"""Note the hashes of the weights behind each codec, in data/weights/<codec>.txt.

A codec follows its own weights only: the note of a codec without any stays the same, so that
nothing of it is done again when some model is.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ecc import params
from ecc.files import atomic_path


def main() -> None:
    """Write one line `SHA-256  path` for each file that an argument of a codec's points names, and
    for each of Lyra's where models of a codec of ours stand on them."""
    study = params.load()
    for name in study.study.codecs:
        points = study.points(name).values()
        named = {value for kwargs in points for value in kwargs.values() if isinstance(value, str)}
        if stands_on_lyra(study, study.codecs[name].variant):
            named.add("data/lyra")
        with atomic_path(Path("data/weights") / f"{name}.txt") as note:
            lines = [
                f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n"
                for path in files(map(Path, sorted(named)))
            ]
            note.write_text("".join(lines) or "no weights\n")  # DVC warns of empty files


def stands_on_lyra(study: params.Params, variant: str | None) -> bool:
    """Whether a model of the variant has Lyra's encoder and decoder around it."""
    codecs = [study.model(name)[1] for name, m in study.models.items() if m.variant == variant]
    codecs += [
        study.token_model(name)[1] for name, m in study.token_models.items() if m.variant == variant
    ]
    return any(codec.transform.kind == "lyra" for codec in codecs)


def files(paths: Iterator[Path]) -> Iterator[Path]:
    """Those of `paths` that are files, and the files in those that are folders."""
    for path in paths:
        if path.is_dir():
            yield from sorted(child for child in path.iterdir() if child.is_file())
        elif path.is_file():
            yield path


if __name__ == "__main__":
    main()
