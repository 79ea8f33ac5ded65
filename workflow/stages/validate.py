"""Check params.yaml and write the fingerprint of the code behind each stage."""

from pathlib import Path

from ecc import params
from ecc.files import atomic_path
from ecc.fingerprint import fingerprint

ROOTS = (Path("src"), Path())
# These two only bring modules together; through them every stage would depend on all code.
IGNORE = frozenset({"ecc", "ecc.params"})
STAGES = (
    *("fetch", "fetch_lyra", "corpus", "train", "tokens", "weights"),
    *("score", "diagnose", "aggregate", "report"),
)
CODEC_STAGES = ("encode", "decode")


def main() -> None:
    """Write data/fingerprints/<stage>.txt, and <stage>-<codec>.txt where a codec's code counts."""
    study = params.load()
    entries: dict[str, list[str | Path]] = {stage: [_script(stage)] for stage in STAGES}
    for codec in study.study.codecs:
        module = study.codecs[codec].class_.partition(":")[0]
        for stage in CODEC_STAGES:
            entries[f"{stage}-{codec}"] = [_script(stage), module]
    for name, entry in entries.items():
        with atomic_path(Path("data/fingerprints") / f"{name}.txt") as path:
            path.write_text(fingerprint(entry, ROOTS, IGNORE) + "\n")


def _script(stage: str) -> Path:
    return Path("workflow/stages") / f"{stage}.py"


if __name__ == "__main__":
    main()
