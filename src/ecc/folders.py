"""Where models and published weights are looked for."""

import os
from pathlib import Path


def data_folder(variable: str, name: str) -> Path:
    """The folder that the environment variable `variable` names, or data/`name`, here or in the
    checkout that this package is part of."""
    if folder := os.environ.get(variable):
        return Path(folder)
    here, checkout = Path("data", name), Path(__file__).parents[2] / "data" / name
    return here if here.is_dir() or not checkout.is_dir() else checkout
