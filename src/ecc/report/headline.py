"""The few numbers by which two versions of the study are compared, few enough for one line:
`dvc metrics show`, `dvc exp show`."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ecc.report.config import Report

METRICS = ("pesq_wb", "visqol")


def headline(
    matched: pd.DataFrame,
    bd_rate: pd.DataFrame,
    logs: Iterable[Path],
    metrics: Sequence[str],
    test_sets: Sequence[str],
    config: Report,
) -> dict[str, Any]:
    """What reports/metrics.json holds; a number that is not given is left out.

    `quality`: by test set and metric, of `config.codec` on each of `test_sets` at the middle one of
    `config.matched_kbps`; `bd_rate`, in percent, the mean over all test sets: by metric, of
    `config.codec` against each codec of `config.beside`; `loss`: by model, on validation speech,
    from each of `logs` (folders of DVCLive).
    """
    shown = [metric for metric in METRICS if metric in metrics]
    rates = sorted(config.matched_kbps)
    middle = matched[matched["kbps"] == rates[len(rates) // 2]]
    quality: dict[str, Any] = {}
    for test_set in test_sets:
        rows = middle[(middle["codec"] == config.codec) & (middle["test_set"] == test_set)]
        for metric in shown if len(rows) else []:
            _put(quality.setdefault(test_set, {}), metric, rows[metric].iloc[0])
    saved: dict[str, Any] = {metric: {} for metric in shown}
    ours = bd_rate[bd_rate["codec"] == config.codec]
    for anchor in config.beside:
        pair = ours[ours["anchor"] == anchor]
        for metric in shown:
            _put(saved[metric], anchor, pair.loc[pair["metric"] == metric, "bd_rate"].mean())
    loss: dict[str, float] = {}
    for folder in logs:
        log = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        _put(loss, folder.name, log["valid"]["loss"])
    return {"quality": quality, "bd_rate": saved, "loss": loss}


def _put(numbers: dict[str, Any], key: str, value: float) -> None:
    if math.isfinite(value):
        numbers[key] = float(f"{value:.4g}")
