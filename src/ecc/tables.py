"""Tables of the study as CSV files, read and written in one way.

A name is text whatever it looks like: an utterance may be called "007", a point "NA" and a speaker
"no". What columns hold text is known by their names, `TEXT`, and an empty cell of theirs is "". In
all other columns an empty cell, and nothing else, is a missing value.
"""

from pathlib import Path
from typing import Any, cast

import pandas as pd

from ecc.files import atomic_path

Row = dict[str, Any]

REPORTED = 6
"""Digits of a number in reports/: enough for any use, few enough that a diff shows no rounding."""

TEXT = (
    *("codec", "anchor", "point", "test_set", "utterance", "reason"),
    *("clip", "source", "speaker", "language", "split", "licence"),
    *("name", "label", "kind", "rate", "version", "flag", "metric", "at", "part"),
    *("trial", "changes", "lmbda"),
)


def read_table(path: Path) -> pd.DataFrame:
    """The table at `path`, numbers exactly as they were written.

    Raises `FileNotFoundError`, and ValueError when the file is no table.
    """
    table = pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXT, str),
        na_values=[""],
        keep_default_na=False,
        float_precision="round_trip",
    )
    text = list(table.columns.intersection(list(TEXT)))
    table[text] = table[text].fillna("")
    return table


def write_table(path: Path, table: pd.DataFrame, digits: int | None = None) -> None:
    """Write `table` to `path`, whole or not at all; numbers with that many significant `digits`,
    or with all that they have."""
    with atomic_path(path) as temporary:
        table.to_csv(
            temporary,
            index=False,
            float_format=None if digits is None else f"%.{digits}g",
            lineterminator="\n",
        )


def records(table: pd.DataFrame) -> list[Row]:
    """The rows of `table`, in order."""
    return cast(list[Row], table.to_dict("records"))
