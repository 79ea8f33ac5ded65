"""BD-rate: how much more rate a codec needs than another for the same quality.

Bjøntegaard, "Calculation of average PSNR differences between RD-curves", ITU-T SG16 VCEG-M33,
2001, with log rate as a piecewise cubic Hermite (PCHIP) function of quality in place of the
cubic polynomial.

All functions of curves take many at once, [..., points], as the bootstrap asks for.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from scipy.interpolate import Akima1DInterpolator

from ecc.evaluate.metrics import LOWER_IS_BETTER
from ecc.report.config import Report
from ecc.report.rd import Array, Points, Resamples, codec_points, interval, resample_speakers

Value = TypeVar("Value", float, Array)


class Curve(NamedTuple):
    """Points of a codec that none of its other points beats in rate and quality at once.

    Both arrays [..., points] rise strictly, so either is a function of the other; a curve with
    fewer points than others of the same array ends in NaN.
    """

    log_rate: Array
    quality: Array


def pareto(kbps: Array, quality: Array) -> Curve:
    """The Pareto points of each row of `kbps` [..., points] and `quality` [..., points].

    The points are in any order; one without rate or quality (NaN) is left out.
    """
    known = np.isfinite(kbps) & np.isfinite(quality)
    kbps, quality = np.where(known, kbps, np.inf), np.where(known, quality, -np.inf)
    order = np.lexsort((-quality, kbps), axis=-1)
    kbps, quality = (np.take_along_axis(values, order, -1) for values in (kbps, quality))
    best = np.maximum.accumulate(quality, axis=-1)
    nothing = np.full_like(quality[..., :1], -np.inf)
    better = quality > np.concatenate([nothing, best[..., :-1]], axis=-1)
    # The better points to the front, the rest empty.
    order = np.argsort(~better, axis=-1, kind="stable")[..., : better.sum(axis=-1).max(initial=0)]
    kept = np.take_along_axis(better, order, -1)
    log_rate = np.log(np.take_along_axis(kbps, order, -1))
    quality = np.take_along_axis(quality, order, -1)
    return Curve(np.where(kept, log_rate, np.nan), np.where(kept, quality, np.nan))


def pchip_slopes(x: Array, y: Array) -> Array:
    """Derivatives [..., points] of the PCHIP interpolant at `x` [..., points], where y is `y`.

    Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants",
    1984, as in `scipy.interpolate.PchipInterpolator`. Rows of `x` and `y` rise strictly, end in
    NaN where they are shorter, and have two points or more.
    """
    step = np.diff(x)
    slope = np.diff(y) / step
    before, after = 2 * step[..., 1:] + step[..., :-1], step[..., 1:] + 2 * step[..., :-1]
    slopes = np.full_like(x, np.nan)
    slopes[..., 1:-1] = (before + after) / (before / slope[..., :-1] + after / slope[..., 1:])
    last = np.isfinite(x).sum(axis=-1, keepdims=True) - 1
    for end, inner in ((np.zeros_like(last), 1), (last, -1)):
        # The intervals at this end and beside it; of two points there is one alone.
        near = np.maximum(end - (inner < 0), 0)
        far = np.where(last > 1, near + inner, near)
        h, further, m, next_ = (
            np.take_along_axis(values, at, -1)
            for values, at in ((step, near), (step, far), (slope, near), (slope, far))
        )
        derivative = ((2 * h + further) * m - h * next_) / (h + further)
        np.put_along_axis(slopes, end, np.maximum(derivative, 0.0), -1)
    return slopes


def pchip_integral(x: Array, y: Array, low: Array, high: Array) -> Array:
    """Integral [...] from `low` [...] to `high` [...] of the PCHIP interpolant of each row.

    Rows of `x` and `y` [..., points] are as in `pchip_slopes`, the ends within them.
    """
    derivative, step = pchip_slopes(x, y), np.diff(x)

    def primitive(at: Array) -> Array:
        # Of the cubic Hermite polynomial of each interval, from its start to `at` in 0 … 1.
        square, cube, fourth = at**2, at**3, at**4
        return (
            y[..., :-1] * (at - cube + fourth / 2)
            + y[..., 1:] * (cube - fourth / 2)
            + step * derivative[..., :-1] * (square / 2 - 2 * cube / 3 + fourth / 4)
            + step * derivative[..., 1:] * (fourth / 4 - cube / 3)
        )

    start, end = (
        np.clip((limit[..., None] - x[..., :-1]) / step, 0.0, 1.0) for limit in (low, high)
    )
    return np.nansum(step * (primitive(end) - primitive(start)), axis=-1)


def akima_integral(x: Array, y: Array, low: Array, high: Array) -> Array:
    """As `pchip_integral` by Akima's interpolation, of a single curve: `x` and `y` [points]."""
    return np.asarray(Akima1DInterpolator(x, y).integrate(low, high))


class BdRate(NamedTuple):
    """BD-rates [...] and what they rest on, [...] each."""

    percent: Array
    """Rate of the codec above that of the anchor; NaN when the curves share no range."""
    overlap: Array
    """Quality range that the curves share, as a share of the range that they span together."""
    low: Array
    """Lower end of the shared range."""
    high: Array


def bd_rate(
    codec: Curve,
    anchor: Curve,
    integral: Callable[[Array, Array, Array, Array], Array] = pchip_integral,
) -> BdRate:
    """Mean difference of log rate over the quality range that both curves have, in percent.

    Never extrapolates: a curve of fewer than two points, or without common range, gives NaN.
    """
    if min(codec.quality.shape[-1], anchor.quality.shape[-1]) < 2:
        none = np.full(codec.quality.shape[:-1], np.nan)
        return BdRate(none, np.zeros_like(none), none, none)
    starts = [curve.quality[..., 0] for curve in (codec, anchor)]
    ends = [np.fmax.reduce(curve.quality, axis=-1) for curve in (codec, anchor)]
    low, high = np.maximum(*starts), np.minimum(*ends)
    shared = high > low  # never of a curve with a single point
    low, high = np.where(shared, low, np.nan), np.where(shared, high, np.nan)
    with np.errstate(invalid="ignore"):
        areas = [integral(c.quality, c.log_rate, low, high) for c in (codec, anchor)]
    percent = 100 * np.expm1((areas[0] - areas[1]) / (high - low))
    overlap = (high - low) / (np.maximum(*ends) - np.minimum(*starts))
    return BdRate(percent, np.where(shared, overlap, 0.0), low, high)


def quality_at(curve: Curve, kbps: Array, highest: Array) -> Array:
    """Quality [..., rates] at `kbps` [rates], by PCHIP over log rate; NaN outside the points.

    The points reach up to `highest` [...] kbps. From the last Pareto point to there more rate
    brings nothing, and the quality is that of the last Pareto point.
    """
    x, y = curve
    if x.shape[-1] < 2:
        return np.full((*x.shape[:-1], len(kbps)), np.nan)
    at, slopes = np.log(kbps), pchip_slopes(x, y)
    last = np.isfinite(x).sum(axis=-1, keepdims=True) - 1
    start = (x[..., None, :] <= at[:, None]).sum(axis=-1) - 1
    start = np.clip(start, 0, np.maximum(last - 1, 0))
    (x0, x1), (y0, y1), (slope0, slope1) = (
        [np.take_along_axis(values, start + side, -1) for side in (0, 1)]
        for values in (x, y, slopes)
    )
    step, t = x1 - x0, (at - x0) / (x1 - x0)
    quality = (
        y0 * (1 + 2 * t) * (1 - t) ** 2
        + y1 * t**2 * (3 - 2 * t)
        + step * (slope0 * t * (1 - t) ** 2 - slope1 * t**2 * (1 - t))
    )
    beyond = (t > 1) & (kbps <= np.asarray(highest)[..., None])
    return np.where(beyond, y1, np.where((t >= 0) & (t <= 1), quality, np.nan))


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
    for test_set, (points, resamples) in _samples(
        scores, codecs, test_sets, metrics, config
    ).items():
        anchors = [codec for codec in points if codec != config.codec]
        if config.codec not in points:
            continue
        for metric, anchor in product(metrics, anchors):
            ours, theirs = (_curves(points[name], metric) for name in (config.codec, anchor))
            drawn = bd_rate(ours, theirs)
            found = BdRate(*(values[0] for values in drawn))
            our_points, their_points = _points(ours), _points(theirs)
            row: dict[str, object] = {
                "test_set": test_set,
                "metric": metric,
                "codec": config.codec,
                "anchor": anchor,
                "points": len(our_points.quality),
                "anchor_points": len(their_points.quality),
                "bd_rate": np.nan,
                "bd_rate_low": np.nan,
                "bd_rate_high": np.nan,
                "bd_rate_akima": np.nan,
                "overlap": found.overlap,
                "quality_low": min(_signed(metric, found.low), _signed(metric, found.high)),
                "quality_high": max(_signed(metric, found.low), _signed(metric, found.high)),
                "flag": _flag(found, our_points, their_points, config.min_overlap),
            }
            if row["flag"] == "ok":
                low, high = interval(drawn.percent, resamples)
                row |= {
                    "bd_rate": found.percent,
                    "bd_rate_low": float(low),
                    "bd_rate_high": float(high),
                    "bd_rate_akima": bd_rate(our_points, their_points, akima_integral).percent,
                }
            rows.append(row)
    columns = ["test_set", "metric", "codec", "anchor", "points", "anchor_points", "bd_rate"]
    columns += ["bd_rate_low", "bd_rate_high", "bd_rate_akima", "overlap"]
    columns += ["quality_low", "quality_high", "flag"]
    return pd.DataFrame(rows, columns=columns)


def pair_table(
    scores: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """BD-rate of the first codec of each pair against the second; columns of `bd_rate_table`."""
    none = (config.codec, config.codec)  # an empty table has its columns too
    return join(
        [
            bd_rate_table(
                scores,
                pair,
                test_sets,
                metrics,
                config.model_copy(update={"codec": pair[0]}),
            )
            for pair in (pairs or [none])
        ]
    )


def join(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table below the other. Empty ones are left out: their columns have no type."""
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def average_table(bd: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Means of the BD-rates of `bd` over test sets and the anchors of each of `groups`.

    Columns group, metric, bd_rate, given (BD-rates that the mean is over) and compared (those
    that were asked for). Plain means of percentages, as they are commonly reported.
    """
    rows = []
    for (name, anchors), metric in product(groups.items(), bd["metric"].unique()):
        compared = bd[bd["anchor"].isin(list(anchors)) & (bd["metric"] == metric)]
        if len(compared):
            given = compared.loc[compared["flag"] == "ok", "bd_rate"]
            row = {"group": name, "metric": metric, "bd_rate": given.mean()}
            rows.append(row | {"given": len(given), "compared": len(compared)})
    return pd.DataFrame(rows, columns=["group", "metric", "bd_rate", "given", "compared"])


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
            found = {}
            for metric in metrics:
                known = np.isfinite(of_codec.quality[metric]) & np.isfinite(of_codec.kbps)
                highest = np.where(known, of_codec.kbps, 0.0).max(axis=-1)
                curves = _curves(of_codec, metric)
                found[metric] = _signed(metric, quality_at(curves, rates, highest))
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
        resamples = resample_speakers(len(speakers), config.bootstrap, config.seed)
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


def _curves(points: Points, metric: str) -> Curve:
    """The curves of all resamples, [1 + distinct, points]."""
    return pareto(points.kbps, _signed(metric, points.quality[metric]))


def _points(curves: Curve) -> Curve:
    """The curve of the sample itself, the first row, without padding."""
    known = np.isfinite(curves.quality[0])
    return Curve(curves.log_rate[0, known], curves.quality[0, known])


def _signed(metric: str, values: Value) -> Value:
    """A metric as a quality, of which more is better, and back: a distance changes its sign."""
    return -values if metric in LOWER_IS_BETTER else values


def _flag(found: BdRate, codec: Curve, anchor: Curve, min_overlap: float) -> str:
    if min(len(codec.quality), len(anchor.quality)) < 2:
        return "fewer than two points"
    if np.isnan(found.percent):
        return "no overlap"
    return "low overlap" if found.overlap < min_overlap else "ok"
