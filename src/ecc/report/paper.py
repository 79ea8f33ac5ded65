"""What the paper says of its ECC against FunCodec, beside what this study measured.

`paper.csv` has the figures of Xu, Cheng, et al., "Benchmarking Neural Speech Compression from a
Rate-Distortion Perspective", arXiv 2606.11631, version 1: BD-rate in percent and BD-quality in
units of the metric, by metric and speech. They were taken from a digest of it, not from its own
tables.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ecc.evaluate.metrics import METRICS
from ecc.report.config import Report
from ecc.report.markdown import number

LEADING = 2
"""Test sets that a codec is shown on: the first of the study that it has."""


def paper_table(
    bd: pd.DataFrame, equal_rate: pd.DataFrame, labels: Mapping[str, str], config: Report
) -> pd.DataFrame:
    """The paper's figures and, below them, those of this study against `config.paper`: a row for
    each other codec and its speech, a column for each metric of the paper.

    A cell holds the BD-rate and the BD-quality or, where there is neither, the mean difference in
    quality at the rates of a codec of few points. Empty if nothing of this study stands beside.

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
            points = at_rates[at_rates["test_set"] == test_set].groupby("metric")["difference"]
            rows.append(row | _cells(metrics, of_set, points.mean()))
    if not rows:
        return pd.DataFrame()
    head = []
    for (other, speech), figures in paper.groupby(["anchor", "speech"], sort=False):
        row = {"of": "the paper", "against": str(other), "on": str(speech)}
        none = pd.Series(dtype=float)
        head.append(row | _cells(metrics, figures.set_index("metric"), none))
    return pd.DataFrame([*head, *rows])


def _cells(metrics: Sequence[str], bd: pd.DataFrame, at_rates: pd.Series) -> dict[str, str]:
    cells = {}
    for metric in metrics:
        found = dict(bd.loc[metric]) if metric in bd.index else {}
        parts = [
            number(found.get(name, float("nan")), form)
            for name, form in (("bd_rate", "{:+.1f} %"), ("bd_quality", "{:+.2f}"))
        ]
        given = [part for part in parts if part != "–"]
        if not given and pd.notna(at_rates.get(metric)):
            given = [f"{at_rates[metric]:+.2f} at its rates"]
        cells[METRICS[metric].label] = ", ".join(given).replace("-", "−") or "–"
    return cells
