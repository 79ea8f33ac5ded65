"""Write src/ecc/shipped.csv: the models of the study with their hashes, by which `ecc models fetch`
knows them.

    python workflow/shipped.py

For after a training, into the commit of its dvc.lock.
"""

import csv
import hashlib
import json
import sys
from pathlib import Path

from safetensors import safe_open

from ecc import params
from ecc.files import atomic_path
from ecc.shipped import Shipped

TABLE = Path("src/ecc/shipped.csv")


def main() -> None:
    """One row for each model of params.yaml."""
    study = params.load()
    variants = {name: model.variant for name, model in study.models.items()}
    variants |= {name: model.variant for name, model in study.token_models.items()}
    paths = {name: Path(f"data/models/{v}/{name}.safetensors") for name, v in variants.items()}
    if missing := [path for path in paths.values() if not path.exists()]:
        sys.exit(f"shipped: {missing[0]} is not there; `dvc pull data/models` brings it")
    rows = [_row(name, path) for name, path in paths.items()]
    names = {row.sha256: row.name for row in rows}
    with atomic_path(TABLE) as temporary, temporary.open("w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Shipped._fields)
        writer.writerows(row._replace(base=names.get(row.base, "")) for row in rows)


def _row(name: str, path: Path) -> Shipped:
    """With the SHA-256 of what it stands on in the place of a name."""
    data = path.read_bytes()
    hashes = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
    with safe_open(path, framework="np") as file:
        base = json.loads(file.metadata()["ecc"]).get("base", "")
    return Shipped(name, len(data), *hashes, base)


if __name__ == "__main__":
    main()
