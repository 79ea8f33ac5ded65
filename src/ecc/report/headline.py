"""The few numbers by which two versions of the study are compared: `dvc metrics diff`."""

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
    pairs: pd.DataFrame,
    logs: Iterable[Path],
    metrics: Sequence[str],
    config: Report,
) -> dict[str, Any]:
    """What reports/metrics.json holds; a number that is not given is left out.

    `quality`: by test set, metric and rate, of `config.codec`; `bd_rate`, in percent, the mean over
    test sets: by metric and codec, of `config.codec` against each that it is drawn beside, and of
    each of `config.pairs`; `training`: by model, from each of `logs` (folders of DVCLive), the loss
    on validation speech, the steps and the hours.
    """
    shown = [metric for metric in METRICS if metric in metrics]
    codec = config.codec
    quality: dict[str, Any] = {}
    for _, row in matched[matched["codec"] == codec].iterrows():
        of_set = quality.setdefault(row["test_set"], {})
        for metric in shown:
            _put(of_set.setdefault(metric, {}), f"{row['kbps']:g} kbps", row[metric])
    compared = [(bd_rate, codec, anchor) for anchor in config.beside]
    compared += [(pairs, first, second) for first, second in config.pairs]
    saved: dict[str, Any] = {metric: {} for metric in shown}
    for table, first, second in compared:
        pair = table[(table["codec"] == first) & (table["anchor"] == second)]
        for metric in shown:
            given = pair.loc[pair["metric"] == metric, "bd_rate"]
            _put(saved[metric], f"{first} against {second}", given.mean())
    training: dict[str, Any] = {}
    for folder in logs:
        log = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        of_model = training.setdefault(folder.name, {"steps": log["step"]})
        _put(of_model, "loss", log["valid"]["loss"])
        _put(of_model, "hours", log["seconds"] / 3600)
    return {"quality": quality, "bd_rate": saved, "training": training}


def _put(numbers: dict[str, Any], key: str, value: float) -> None:
    if math.isfinite(value):
        numbers[key] = float(f"{value:.6g}")
