"""Rate-distortion points: means over utterances with intervals over speakers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecc.report.config import Report
from ecc.tables import read_table

Array = NDArray[np.float64]


class Resamples(NamedTuple):
    """Bootstrap over speakers: how often each speaker counts in each distinct resample.

    A statistic is computed once for each row of `weights`; row 0 is the sample itself.
    """

    weights: Array
    """[1 + distinct, speakers]; row 0 is all ones."""
    draws: NDArray[np.intp]
    """[resamples] rows of `weights`: few speakers give the same resample many times."""


def resample_speakers(speakers: int, resamples: int, seed: int) -> Resamples:
    """Draw `speakers` speakers with replacement, `resamples` times."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)
    distinct, draws = np.unique(counts, axis=0, return_inverse=True)
    weights = np.concatenate([np.ones((1, speakers)), distinct])
    return Resamples(weights, draws.reshape(-1) + 1)


def interval(values: Array, resamples: Resamples) -> tuple[Array, Array]:
    """The 95 % percentile interval of a statistic.

    values: [1 + distinct, ...], the statistic for each row of `resamples.weights`.
    Returns the lower and upper end, [...]. They are NaN with a single speaker, who says nothing
    about others, and where more than one resample in twenty has no value.
    """
    drawn = values[resamples.draws]
    # nanpercentile warns about columns without a value, which are NaN here on purpose.
    known = (np.mean(np.isfinite(drawn), axis=0) >= 0.95) & (resamples.weights.shape[1] > 1)
    low, high = np.nanpercentile(np.where(known, drawn, 0.0), [2.5, 97.5], axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


class Points(NamedTuple):
    """The operating points of one codec on one test set, for each resample."""

    names: list[str]
    """[points], by rising rate of the sample itself."""
    kbps: Array
    """[1 + distinct, points]"""
    quality: dict[str, Array]
    """Metric: [1 + distinct, points]."""


def codec_points(
    scores: pd.DataFrame, metrics: Sequence[str], speakers: Sequence[str], resamples: Resamples
) -> Points:
    """Points of the rows of one codec on one test set.

    The rate is total bits over total seconds; a metric is the mean over utterances. A speaker
    who is drawn brings all their utterances. A missing value is left out of its own mean.
    """
    keys = [scores["point"], scores["speaker"]]

    def ratio(values: pd.Series, weights: pd.Series) -> pd.DataFrame:
        weights = weights.where(values.notna(), 0.0)

        def by_speaker(column: pd.Series) -> pd.DataFrame:
            table = column.groupby(keys, observed=True).sum().unstack("speaker")
            return table.reindex(columns=list(speakers)).fillna(0.0)

        total, weight = by_speaker((values * weights).fillna(0.0)), by_speaker(weights)
        with np.errstate(invalid="ignore"):
            means = (resamples.weights @ total.to_numpy().T) / (
                resamples.weights @ weight.to_numpy().T
            )
        return pd.DataFrame(means, columns=total.index)

    kbps = ratio(scores["kbps"], scores["seconds"])
    order = list(kbps.columns[np.argsort(kbps.iloc[0].to_numpy(), kind="stable")])
    one = pd.Series(1.0, index=scores.index)
    return Points(
        names=order,
        kbps=kbps[order].to_numpy(),
        quality={metric: ratio(scores[metric], one)[order].to_numpy() for metric in metrics},
    )


def read_scores(folder: Path, codecs: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """The score tables of `codecs`, one below the other.

    Raises `FileNotFoundError` when a codec has no table: even an absent codec has an empty one.
    """
    text = ["codec", "point", "test_set", "utterance", "speaker", "reason"]
    numbers = ["seconds", "kbps", "kbps_estimated", "delay", *metrics]
    numbers += [f"{metric}_reference" for metric in metrics]  # not every metric has it
    numbers += ["encode_seconds", "decode_seconds"]
    tables = [read_table(folder / f"{codec}.csv") for codec in codecs]
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=text + numbers)


def read_codecs(streams: Path, kinds: Mapping[str, str], labels: Mapping[str, str]) -> pd.DataFrame:
    """What each codec of `kinds` (see `Params.kinds`) says of itself, and what it is called.

    Columns codec, label, kind, rate, version, available, reason. A label says it when the rate is
    nominal, so that whatever shows the codec does. Raises `FileNotFoundError` when a codec was
    never asked to encode.
    """
    columns = ["codec", "label", "kind", "rate", "version", "available", "reason"]
    about = [json.loads((streams / name / "codec.json").read_text("utf-8")) for name in kinds]
    for entry in about:
        entry["kind"], entry["label"] = kinds[entry["codec"]], labels[entry["codec"]]
        if entry["rate"] == "nominal":
            entry["label"] += ", nominal rate"
    return pd.DataFrame(
        [{column: entry[column] for column in columns} for entry in about], columns=columns
    )


def with_rate(codecs: pd.DataFrame) -> list[str]:
    """Names of the `codecs` that have a rate: all but the ceilings."""
    return list(codecs.loc[codecs["rate"] != "none", "codec"])


def mark_rates(table: pd.DataFrame, codecs: pd.DataFrame) -> pd.DataFrame:
    """`table` with a column `rate`: measured, nominal or none, as of the row's codec or anchor.

    Where there is no rate, columns `kbps*` are emptied.
    """
    named = table.columns.intersection(["codec", "anchor"])
    rates = pd.Series("measured", index=table.index)
    for rate in ("nominal", "none"):
        of_rate = codecs.loc[codecs["rate"] == rate, "codec"]
        rates[table[named].isin(list(of_rate)).any(axis=1)] = rate
    table = table.assign(rate=rates)
    table.loc[rates == "none", table.columns.str.startswith("kbps")] = np.nan
    return table


def absent_table(
    codecs: pd.DataFrame,
    sources: Sequence[Mapping[str, Any]],
    test_sets: Sequence[str],
    scores: pd.DataFrame,
) -> pd.DataFrame:
    """What the study asks for and could not have: columns kind, name, reason."""
    rows = [
        {"kind": "source", "name": source["source"], "reason": source["reason"]}
        for source in sources
        if not source["available"]
    ]
    rows += [
        {"kind": "test set", "name": name, "reason": "none of its speech could be had or scored"}
        for name in test_sets
        if not (scores["test_set"] == name).any()
    ]
    for _, codec in codecs.iterrows():
        if not codec["available"]:
            rows.append({"kind": "codec", "name": codec["codec"], "reason": codec["reason"]})
        elif not (scores["codec"] == codec["codec"]).any():
            reason = "it ran, and nothing of it was scored"
            rows.append({"kind": "codec", "name": codec["codec"], "reason": reason})
    return pd.DataFrame(rows, columns=["kind", "name", "reason"])


def rd_table(
    scores: pd.DataFrame,
    codecs: Sequence[str],
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """One row for each test set, codec and point, in this order, points by rising rate.

    `n` counts utterances, `failures` those of them with a missing score or stream.
    `<metric>_reference`, the mean over the test set's references, is there for a metric that
    scores them.
    """
    rows = []
    references = [
        column
        for column in (f"{metric}_reference" for metric in metrics)
        if column in scores and scores[column].notna().any()
    ]
    for test_set in test_sets:
        of_set = scores[scores["test_set"] == test_set]
        if of_set.empty:
            continue
        speakers = sorted(of_set["speaker"].unique())
        resamples = resample_speakers(len(speakers), config.bootstrap, config.seed)
        of_references = of_set.drop_duplicates("utterance")[references].mean()
        for codec in codecs:
            of_codec = of_set[of_set["codec"] == codec]
            if of_codec.empty:
                continue
            points = codec_points(of_codec, metrics, speakers, resamples)
            ends = {metric: interval(points.quality[metric], resamples) for metric in metrics}
            for number, point in enumerate(points.names):
                of_point = of_codec[of_codec["point"] == point]
                row: dict[str, object] = {
                    "codec": codec,
                    "point": point,
                    "test_set": test_set,
                    "n": len(of_point),
                    "speakers": of_point["speaker"].nunique(),
                    "kbps": points.kbps[0, number],
                    "kbps_estimated": _per_second(
                        of_point["kbps_estimated"] * of_point["seconds"], of_point["seconds"]
                    ),
                }
                for metric in metrics:
                    row[metric] = points.quality[metric][0, number]
                    row[f"{metric}_low"] = ends[metric][0][number]
                    row[f"{metric}_high"] = ends[metric][1][number]
                row |= {name: of_references[name] for name in references}
                row["failures"] = int(_failed(of_point, metrics).sum())
                rows.append(row)
    intervals = [f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high")]
    numbers = ["kbps", "kbps_estimated", *intervals, *references]
    columns = ["codec", "point", "test_set", "n", "speakers", *numbers, "failures"]
    # Numbers where there are no rows either, as where no source of the test sets can be reached.
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, float))


def failure_table(scores: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Missing scores by codec, point, test set and reason: how many utterances each."""
    failed = scores.loc[_failed(scores, metrics), ["codec", "point", "test_set", "reason"]]
    failed = failed.assign(reason=failed["reason"].replace("", "no reason recorded"))
    keys = ["codec", "point", "test_set", "reason"]
    return failed.groupby(keys, sort=True).size().reset_index(name="utterances")


def _failed(scores: pd.DataFrame, metrics: Sequence[str]) -> pd.Series:
    return scores[["kbps", *metrics]].isna().any(axis=1) | (scores["reason"] != "")


def _per_second(values: pd.Series, seconds: pd.Series) -> float:
    known = values.notna()
    return float(values[known].sum() / seconds[known].sum()) if known.any() else float("nan")
