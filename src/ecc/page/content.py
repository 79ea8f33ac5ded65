"""What the page shows, taken from tables: numbers by codec, point and utterance, and which of the
decodes can be heard. Nothing is computed here that the report does not hold already."""

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ecc.evaluate.metrics import METRICS
from ecc.report.styles import codec_styles
from ecc.tables import read_table, records


class Clip(NamedTuple):
    """A decode that can be heard."""

    test_set: str
    utterance: str
    codec: str
    point: str
    decoded: Path
    stream: Path
    delay: int
    """Samples by which it comes late, which scoring removed."""


def codec_looks(
    kinds: Mapping[str, str], labels: Mapping[str, str], codecs: pd.DataFrame, emphasised: str
) -> dict[str, dict[str, str]]:
    """Label, kind, rate (measured, nominal or none), colour (#rrggbb) and marker of each codec,
    as in the figures of the report.

    kinds and labels: of the whole catalogue (`Params.kinds`); codecs: the table reports/codecs.csv.
    """
    styles = codec_styles(kinds, labels, emphasised)
    return {
        row["codec"]: {
            "label": row["label"],
            "kind": row["kind"],
            "rate": row["rate"],
            "colour": styles[row["codec"]].colour,
            "marker": styles[row["codec"]].marker,
        }
        for row in records(codecs)
        if row["available"]
    }


def nearest_points(rd: pd.DataFrame, kbps: Sequence[float]) -> dict[str, list[str]]:
    """For each codec of one test set its point nearest to each of the rates `kbps`, by the ratio of
    the rates, the lower of two that are as near. What has no rate has one point at all of them.

    rd: rows of reports/rd.csv of that test set.
    """
    found = {}
    for codec, rows in rd.groupby("codec", sort=False):
        ordered = rows.sort_values("kbps", kind="stable")
        logs = np.log(ordered["kbps"].to_numpy(dtype=float))
        names = list(ordered["point"])
        if np.isfinite(logs).any():
            places = [int(np.nanargmin(np.abs(logs - math.log(rate)))) for rate in kbps]
        else:
            places = [0] * len(kbps)
        found[str(codec)] = [names[place] for place in places]
    return found


def heard_utterances(scores: pd.DataFrame, codec: str, metric: str, number: int) -> list[str]:
    """The utterances of one test set that can be heard: `number` of them, evenly spaced from the
    worst to the best by the mean of `metric` over the points of `codec`, so that both ends are
    among them. Without any such score they are evenly spaced in the order of the table.

    scores: rows of data/scores/*.csv of that test set.
    """
    names = list(dict.fromkeys(scores["utterance"]))
    means = scores[scores["codec"] == codec].groupby("utterance")[metric].mean().dropna()
    if len(means):
        names = list(
            means.sort_values(ascending=not METRICS[metric].lower_is_better, kind="stable").index
        )
    number = min(number, len(names))
    places = np.linspace(0, len(names) - 1, number).round().astype(int)
    return [names[place] for place in places]


def heard_clips(
    scores: pd.DataFrame,
    rd: pd.DataFrame,
    utterances: Mapping[str, Sequence[str]],
    kbps: Sequence[float],
    streams: Path,
    decoded: Path,
) -> list[Clip]:
    """The decodes that can be heard: of `utterances` of each test set, every codec of `rd` at its
    points nearest to the rates `kbps`, as far as they were decoded and compared (`scores`)."""
    places = {
        (str(test_set), codec): set(points)
        for test_set, rows in rd.groupby("test_set", sort=False)
        for codec, points in nearest_points(rows, kbps).items()
    }
    clips = []
    for codec, of_codec in scores.dropna(subset=["delay"]).groupby("codec", sort=False):
        sent, back = (_files(folder / str(codec)) for folder in (streams, decoded))
        for row in records(of_codec):
            test_set, utterance = row["test_set"], row["utterance"]
            heard = utterance in utterances.get(test_set, ())
            if heard and row["point"] in places.get((test_set, str(codec)), ()):
                key = (test_set, row["point"], utterance)
                clips.append(
                    Clip(*(test_set, utterance), str(codec), row["point"], back[key], sent[key],
                         int(row["delay"]))
                )  # fmt: skip
    return clips


def _files(folder: Path) -> dict[tuple[str, str, str], Path]:
    """The file of each test set, point and utterance that one is there of."""
    return {
        (row["test_set"], row["point"], row["utterance"]): folder / row["file"]
        for row in records(read_table(folder / "index.csv"))
        if not row["reason"]
    }


def point_rows(rd: pd.DataFrame, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """The points of reports/rd.csv: for each its test set, codec, name, rate, and of each metric
    the mean and the ends of its 95 % interval; None where there is none."""
    rows = []
    for row in records(rd):
        scores = {m: [_known(row[m + end]) for end in ("", "_low", "_high")] for m in metrics}
        keys = {key: row[key] for key in ("test_set", "codec", "point", "n", "failures")}
        rows.append({**keys, "kbps": _known(row["kbps"]), "scores": scores})
    return rows


def score_grids(
    scores: pd.DataFrame, points: Sequence[tuple[str, str]], metrics: Sequence[str]
) -> dict[str, Any]:
    """All scores of one test set, in little room: of the rate and each metric a grid of `points`
    (codec and point) by utterances.

    Returns `points`; `utterances` (name, speaker, seconds and, of metrics that hear no reference,
    the scores of the reference), `references` (the means of these), and for each column its `unit`
    and its `values`: the int16 multiples of the unit, little-endian, row by row, in base64; −32768
    is a missing one.
    """
    utterances = scores.drop_duplicates("utterance")
    names = list(utterances["utterance"])
    blind = [m for m in metrics if f"{m}_reference" in utterances.dropna(axis=1, how="all")]
    columns = ["kbps", *metrics]
    table = scores.set_index(["codec", "point", "utterance"])[columns]
    whole = pd.MultiIndex.from_tuples([(*point, name) for point in points for name in names])
    table = table.reindex(whole)
    return {
        "utterances": [
            {
                "name": row["utterance"],
                "speaker": row["speaker"],
                "seconds": row["seconds"],
                "references": {m: _known(row[f"{m}_reference"]) for m in blind},
            }
            for row in records(utterances)
        ],
        "references": {m: _known(utterances[f"{m}_reference"].mean()) for m in blind},
        "points": [list(point) for point in points],
        "columns": {column: _packed(table[column].to_numpy(dtype=float)) for column in columns},
    }


def _packed(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    largest = np.nanmax(np.abs(values), initial=1.0)
    unit = 10.0 ** math.ceil(math.log10(largest / 32767))
    units = np.where(np.isfinite(values), np.round(values / unit), -32768).astype("<i2")
    return {"unit": unit, "values": base64.b64encode(units.tobytes()).decode()}


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)
