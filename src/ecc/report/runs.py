"""Long runs of the codec under study: how far the curve moves from one to another. The scores of a
run are kept in the repository, since there is room for the weights of one alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ecc.report.bd_rate import pair_table, pareto, quality_at
from ecc.report.config import Report
from ecc.report.rd import codec_points, interval, read_scores, resample_speakers
from ecc.tables import REPORTED, write_table

METRICS = ("pesq_wb", "visqol")
COLUMNS = ["codec", "point", "test_set", "utterance", "speaker", "seconds", "kbps", *METRICS]


def keep(name: str, scores: pd.DataFrame, runs: Path) -> None:
    """Write the `scores` of one codec, a row for each utterance and point, to `runs` as the run
    `name`."""
    table = scores.assign(codec=name)[COLUMNS]
    write_table(runs / f"{name}.csv", table, REPORTED)


def run_table(
    scores: pd.DataFrame,
    runs: Path,
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """How `config.codec`, as it is now, compares with itself in each of `config.runs`, by those of
    `metrics` that runs are kept with: columns of `bd_rate_table` and of `change_table`.

    Raises `FileNotFoundError` when a run was not kept.
    """
    kept = read_scores(runs, list(config.runs), METRICS)
    both = pd.concat([scores, kept], ignore_index=True) if len(kept) else scores
    pairs = [(config.codec, name) for name in config.runs]
    shared = [metric for metric in METRICS if metric in metrics]
    rates = pair_table(both, pairs, test_sets, shared, config)
    changes = change_table(scores, kept, test_sets, shared, config)
    return rates.merge(changes, how="left", on=["test_set", "metric", "anchor"])


def change_table(
    scores: pd.DataFrame,
    kept: pd.DataFrame,
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """How far the curve of `config.codec` moved since each of `config.runs`, in units of the
    metric: a row for each test set, metric and run (`anchor`).

    `change` is the mean over the codec's points of its quality above that of the run at the same
    rate, `change_low` and `change_high` the least and the most of it. Of the `compared` points, as
    many as `outside` have an interval in which the run does not lie.
    """
    rows = []
    for test_set in test_sets:
        ours = scores[(scores["test_set"] == test_set) & (scores["codec"] == config.codec)]
        if ours.empty:
            continue
        speakers = sorted(ours["speaker"].unique())
        resamples = resample_speakers(len(speakers), config.bootstrap, config.seed)
        now = codec_points(ours, metrics, speakers, resamples)
        ends = {metric: interval(now.quality[metric], resamples) for metric in metrics}
        for run in config.runs:
            theirs = kept[(kept["test_set"] == test_set) & (kept["codec"] == run)]
            if theirs.empty:
                continue
            was = codec_points(theirs, metrics, speakers, resamples)
            for metric in metrics:
                curve = pareto(was.kbps[0], was.quality[metric][0])
                before = quality_at(curve, now.kbps[0], was.kbps[0].max())
                # Of a series, which leaves missing values out.
                change = pd.Series(now.quality[metric][0] - before)
                low, high = ends[metric]
                outside = (before < low) | (before > high)
                compared = np.isfinite(before) & np.isfinite(low)
                row = [test_set, metric, run, change.mean(), change.min(), change.max()]
                rows.append([*row, compared.sum(), outside.sum()])
    columns = ["test_set", "metric", "anchor", "change", "change_low", "change_high"]
    return pd.DataFrame(rows, columns=[*columns, "compared", "outside"])
