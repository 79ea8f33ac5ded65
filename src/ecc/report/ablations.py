"""The tables that workflow/stages/aggregate.py wrote of ablations, put together by study."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ecc.tables import read_table


@dataclass(frozen=True)
class Ablations:
    """A full model and those without a part; with several seeds, as many of each.

    `bd_rate` and `rd` have a column `label` beside that of the codec.
    """

    name: str
    full: pd.Series  # its row of `codecs`
    codecs: pd.DataFrame  # codec, label, steps, crops, lmbda, hidden, hours, loss
    seeds: int
    bd_rate: pd.DataFrame
    rd: pd.DataFrame


def read(folder: Path) -> list[Ablations]:
    """The studies below `folder`: full models of the same label are of one, each from its seed."""
    found: dict[str, list[Ablations]] = {}
    for path in sorted(folder.glob("*")):
        codecs, bd_rate, rd = (
            read_table(path / f"{name}.csv") for name in ("codecs", "bd_rate", "rd")
        )
        labels = dict(zip(codecs["codec"], codecs["label"], strict=True))
        for table in (bd_rate, rd):
            table["label"] = table["codec"].map(labels)
        full = codecs[codecs["codec"] == path.name].iloc[0]
        seed = Ablations(path.name, full, codecs, 1, bd_rate, rd)
        found.setdefault(labels[path.name], []).append(seed)
    return [
        replace(
            seeds[0],
            seeds=len(seeds),
            bd_rate=pd.concat([seed.bd_rate for seed in seeds]),
            rd=pd.concat([seed.rd for seed in seeds]),
        )
        for seeds in found.values()
    ]
