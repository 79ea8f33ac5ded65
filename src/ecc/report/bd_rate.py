"""BD-rate: how much more rate a codec needs than another for the same quality.

Bjøntegaard, "Calculation of average PSNR differences between RD-curves", ITU-T SG16 VCEG-M33,
2001, with log rate as a piecewise cubic Hermite (PCHIP) function of quality in place of the
cubic polynomial.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator
from tqdm import tqdm

from ecc.evaluate.config import LOWER_IS_BETTER
from ecc.report.rd import Array, Points, Report, Resamples, codec_points, interval, resample

Value = TypeVar("Value", float, Array)


class Curve(NamedTuple):
    """Points of a codec that none of its other points beats in rate and quality at once.

    Both arrays rise strictly, so either is a function of the other.
    """

    log_rate: Array
    quality: Array


def pareto(kbps: Array, quality: Array) -> Curve:
    """The Pareto points of `kbps` [points] and `quality` [points], in any order.

    A point without rate or quality (NaN) is left out.
    """
    known = np.isfinite(kbps) & np.isfinite(quality)
    kbps, quality = kbps[known], quality[known]
    order = np.lexsort((-quality, kbps))
    kbps, quality = kbps[order], quality[order]
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(quality)[:-1]])[: len(quality)]
    better = quality > best_before
    return Curve(np.log(kbps[better]), quality[better])


class BdRate(NamedTuple):
    """A BD-rate and what it rests on."""

    percent: float
    """Rate of the codec above that of the anchor; NaN when the curves share no range."""
    overlap: float
    """Quality range that the curves share, as a share of the range that they span together."""
    low: float
    """Lower end of the shared range."""
    high: float


def bd_rate(
    codec: Curve, anchor: Curve, interpolator: Callable[..., Any] = PchipInterpolator
) -> BdRate:
    """Mean difference of log rate over the quality range that both curves have, in percent.

    Never extrapolates: a curve of fewer than two points, or without common range, gives NaN.
    """
    if min(len(codec.quality), len(anchor.quality)) < 2:
        return BdRate(np.nan, 0.0, np.nan, np.nan)
    low = max(codec.quality[0], anchor.quality[0])
    high = min(codec.quality[-1], anchor.quality[-1])
    if high <= low:
        return BdRate(np.nan, 0.0, np.nan, np.nan)
    spanned = max(codec.quality[-1], anchor.quality[-1]) - min(codec.quality[0], anchor.quality[0])
    areas = [
        float(interpolator(curve.quality, curve.log_rate).integrate(low, high))
        for curve in (codec, anchor)
    ]
    percent = 100 * np.expm1((areas[0] - areas[1]) / (high - low))
    return BdRate(float(percent), float((high - low) / spanned), float(low), float(high))


def quality_at(curve: Curve, kbps: Array) -> Array:
    """Quality at the rates `kbps` [rates], interpolated over log rate; NaN outside the curve."""
    if len(curve.quality) < 2:
        return np.full(len(kbps), np.nan)
    return PchipInterpolator(curve.log_rate, curve.quality, extrapolate=False)(np.log(kbps))


def bd_rate_table(
    scores: pd.DataFrame,
    codecs: Sequence[str],
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """BD-rate of `config.codec` against every other codec, by test set and metric.

    `bd_rate` is NaN, and `flag` says why, below `config.min_overlap`. Both codecs see the same
    resamples of the speakers.
    """
    rows = []
    samples = _samples(scores, codecs, test_sets, metrics, config)
    pairs = [
        (test_set, metric, anchor)
        for test_set, metric, anchor in product(samples, metrics, codecs)
        if anchor != config.codec and {anchor, config.codec} <= samples[test_set][0].keys()
    ]
    for test_set, metric, anchor in tqdm(pairs, desc="BD-rate", disable=None):
        points, resamples = samples[test_set]
        ours, theirs = (_curves(points[name], metric) for name in (config.codec, anchor))
        found = bd_rate(ours[0], theirs[0])
        flag = _flag(found, ours[0], theirs[0], config.min_overlap)
        row: dict[str, object] = {
            "test_set": test_set,
            "metric": metric,
            "codec": config.codec,
            "anchor": anchor,
            "points": len(ours[0].quality),
            "anchor_points": len(theirs[0].quality),
            "bd_rate": np.nan,
            "bd_rate_low": np.nan,
            "bd_rate_high": np.nan,
            "bd_rate_akima": np.nan,
            "overlap": found.overlap,
            "quality_low": min(_signed(metric, found.low), _signed(metric, found.high)),
            "quality_high": max(_signed(metric, found.low), _signed(metric, found.high)),
            "flag": flag,
        }
        if flag == "ok":
            drawn = np.array([bd_rate(*pair).percent for pair in zip(ours, theirs, strict=True)])
            low, high = interval(drawn, resamples)
            akima = bd_rate(ours[0], theirs[0], Akima1DInterpolator).percent
            row |= {
                "bd_rate": found.percent,
                "bd_rate_low": float(low),
                "bd_rate_high": float(high),
                "bd_rate_akima": akima,
            }
        rows.append(row)
    columns = ["test_set", "metric", "codec", "anchor", "points", "anchor_points", "bd_rate"]
    columns += ["bd_rate_low", "bd_rate_high", "bd_rate_akima", "overlap"]
    columns += ["quality_low", "quality_high", "flag"]
    return pd.DataFrame(rows, columns=columns)


def matched_rate_table(
    scores: pd.DataFrame,
    codecs: Sequence[str],
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """Quality of each codec at `config.matched_kbps`: a row for each rate inside its range."""
    rates = np.array(config.matched_kbps)
    rows = []
    samples = _samples(scores, codecs, test_sets, metrics, config)
    for test_set, (points, resamples) in samples.items():
        for codec, of_codec in points.items():
            found = {
                metric: _signed(
                    metric,
                    np.array([quality_at(curve, rates) for curve in _curves(of_codec, metric)]),
                )
                for metric in metrics
            }
            ends = {metric: interval(found[metric], resamples) for metric in metrics}
            for number, kbps in enumerate(rates):
                row: dict[str, object] = {"test_set": test_set, "codec": codec, "kbps": kbps}
                for metric in metrics:
                    row[metric] = found[metric][0, number]
                    given = np.isfinite(found[metric][0, number])
                    row[f"{metric}_low"] = ends[metric][0][number] if given else np.nan
                    row[f"{metric}_high"] = ends[metric][1][number] if given else np.nan
                rows.append(row)
    intervals = [f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high")]
    table = pd.DataFrame(rows, columns=["test_set", "codec", "kbps", *intervals])
    return table.dropna(subset=list(metrics), how="all").reset_index(drop=True)


def _samples(
    scores: pd.DataFrame,
    codecs: Sequence[str],
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> Mapping[str, tuple[dict[str, Points], Resamples]]:
    """For each test set with scores: the points of its codecs, and the resamples they share."""
    samples = {}
    for test_set in test_sets:
        of_set = scores[scores["test_set"] == test_set]
        if of_set.empty:
            continue
        speakers = sorted(of_set["speaker"].unique())
        resamples = resample(len(speakers), config.bootstrap, config.seed)
        by_codec = {codec: of_set[of_set["codec"] == codec] for codec in codecs}
        samples[test_set] = (
            {
                codec: codec_points(rows, metrics, speakers, resamples)
                for codec, rows in by_codec.items()
                if len(rows)
            },
            resamples,
        )
    return samples


def _curves(points: Points, metric: str) -> list[Curve]:
    quality = _signed(metric, points.quality[metric])
    return [pareto(points.kbps[row], quality[row]) for row in range(len(quality))]


def _signed(metric: str, values: Value) -> Value:
    """A metric as a quality, of which more is better, and back: a distance changes its sign."""
    return -values if metric in LOWER_IS_BETTER else values


def _flag(found: BdRate, codec: Curve, anchor: Curve, min_overlap: float) -> str:
    if min(len(codec.quality), len(anchor.quality)) < 2:
        return "fewer than two points"
    if np.isnan(found.percent):
        return "no overlap"
    return "low overlap" if found.overlap < min_overlap else "ok"
