"""Long runs of the codec under study: how far the curve moves from one to another. The scores of a
run are kept in the repository, since there is room for the weights of one alone."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ecc.files import atomic_path
from ecc.report.bd_rate import pair_table
from ecc.report.config import Report
from ecc.report.rd import read_scores

METRICS = ("pesq_wb", "visqol")
COLUMNS = ["codec", "point", "test_set", "utterance", "speaker", "seconds", "kbps", *METRICS]


def keep(name: str, scores: pd.DataFrame, runs: Path) -> None:
    """Write the `scores` of one codec, a row for each utterance and point, to `runs` as the run
    `name`."""
    table = scores.assign(codec=name)[COLUMNS]
    with atomic_path(runs / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def run_table(
    scores: pd.DataFrame,
    runs: Path,
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """BD-rate of `config.codec`, as it is now, against itself in each of `config.runs`, by those of
    `metrics` that runs are kept with; columns of `bd_rate_table`.

    Raises `FileNotFoundError` when a run was not kept.
    """
    kept = read_scores(runs, list(config.runs), METRICS)
    both = pd.concat([scores, kept], ignore_index=True) if len(kept) else scores
    pairs = [(config.codec, name) for name in config.runs]
    shared = [metric for metric in METRICS if metric in metrics]
    return pair_table(both, pairs, test_sets, shared, config)
