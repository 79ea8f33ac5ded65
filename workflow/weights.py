"""Note the hashes of the weights behind each codec, in data/weights/<codec>.txt.

A codec follows its own models only: the note of a codec without models stays the same, so that
nothing of it is done again when some model is.
"""

import hashlib
from pathlib import Path

from ecc import params
from ecc.files import atomic_path


def main() -> None:
    """Write one line `SHA-256  path` for each model of the codec's variant."""
    study = params.load()
    for codec in study.study.codecs:
        variant = study.codecs[codec].variant
        paths = [
            Path("data/models") / variant / f"{name}.safetensors"
            for name, model in study.models.items()
            if variant and model.variant == variant
        ]
        with atomic_path(Path("data/weights") / f"{codec}.txt") as note:
            lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n" for path in paths]
            note.write_text("".join(lines) or "no models\n")  # DVC warns of empty files


if __name__ == "__main__":
    main()
