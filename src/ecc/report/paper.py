"""What the paper says of its ECC against FunCodec, beside what this study measured.

`paper.csv` has the figures of Xu, Cheng, et al., "Benchmarking Neural Speech Compression from a
Rate-Distortion Perspective", arXiv 2606.11631, version 1: BD-rate in percent and BD-quality in
units of the metric, by metric and speech. They were taken from a digest of it, not from its own
tables.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ecc.evaluate.metrics import METRICS
from ecc.report.bd_rate import mean_rate
from ecc.report.config import Report
from ecc.report.markdown import number

LEADING = 2
"""Test sets that a codec is shown on: the first of the study that it has."""

FORMS = "{:+.1f} %", "{:+.2f}"


def paper_table(
    bd: pd.DataFrame, equal_rate: pd.DataFrame, labels: Mapping[str, str], config: Report
) -> pd.DataFrame:
    """The paper's figures and, below them, those of this study against `config.paper`: a row for
    each other codec and its speech, a column for each metric of the paper.

    A cell holds the BD-rate and the BD-quality or, of a codec of few points, the mean differences
    in rate at its qualities and in quality at its rates. Empty if nothing of this study stands
    beside.

    Args:
        bd: reports/bd_rate.csv. equal_rate: reports/equal_rate.csv.
        labels: of each codec.
        config: of the report.
    """
    paper = pd.read_csv(Path(__file__).parent / "paper.csv")
    metrics = list(paper["metric"].unique())
    rows = []
    for anchor in config.paper:
        pair = bd[(bd["codec"] == config.codec) & (bd["anchor"] == anchor)]
        at_rates = equal_rate[equal_rate["anchor"] == anchor]
        for test_set in pair["test_set"].unique()[:LEADING]:
            row = {"of": "this study", "against": labels[anchor], "on": f"`{test_set}`"}
            of_set = pair[pair["test_set"] == test_set].set_index("metric")
            points = {
                str(metric): (
                    mean_rate(found["rate_difference"].to_list()),
                    found["difference"].mean(),
                )
                for metric, found in at_rates[at_rates["test_set"] == test_set].groupby("metric")
            }
            rows.append(row | _cells(metrics, of_set, points))
    if not rows:
        return pd.DataFrame()
    head = []
    for (other, speech), figures in paper.groupby(["anchor", "speech"], sort=False):
        row = {"of": "the paper", "against": str(other), "on": str(speech)}
        head.append(row | _cells(metrics, figures.set_index("metric"), {}))
    return pd.DataFrame([*head, *rows])


def _cells(
    metrics: Sequence[str], bd: pd.DataFrame, points: Mapping[str, tuple[float, float]]
) -> dict[str, str]:
    cells = {}
    for metric in metrics:
        found = dict(bd.loc[metric]) if metric in bd.index else {}
        pair, where = (found.get("bd_rate", np.nan), found.get("bd_quality", np.nan)), ""
        if metric in points:
            pair, where = points[metric], " at its points"
        parts = [number(value, form) for value, form in zip(pair, FORMS, strict=True)]
        given = ", ".join(part for part in parts if part != "–")
        cells[METRICS[metric].label] = f"{given}{where}".replace("-", "−") if given else "–"
    return cells
