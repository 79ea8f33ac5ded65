"""BD-rate and BD-quality: how much more rate a codec needs than another for the same quality, and
how much more quality it has at the same rate.

Bjøntegaard, "Calculation of average PSNR differences between RD-curves", ITU-T SG16 VCEG-M33,
2001, with a piecewise cubic Hermite interpolant (PCHIP) in place of the cubic polynomial.

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
Integral = Callable[[Array, Array, Array, Array], Array]

FEW_POINTS = 2
"""A codec with as many points or fewer is compared at its own rates: hardly a curve, and it seldom
shares half of a range with another."""


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


class BdQuality(NamedTuple):
    """BD-qualities [...] and what they rest on, [...] each."""

    quality: Array
    """Quality of the codec above that of the anchor; NaN when the curves share no range."""
    overlap: Array
    """Range of log rate that the curves share, as a share of the range that they span together."""
    low: Array
    """Lower end of the shared range, as log rate."""
    high: Array


def bd_rate(codec: Curve, anchor: Curve, integral: Integral = pchip_integral) -> BdRate:
    """Mean difference of log rate over the quality range that both curves have, in percent.

    Never extrapolates: a curve of fewer than two points, or without common range, gives NaN.
    """
    ours, theirs = ((curve.quality, curve.log_rate) for curve in (codec, anchor))
    difference, *shared = _mean_difference(ours, theirs, integral)
    return BdRate(100.0 * np.expm1(difference), *shared)


def bd_quality(codec: Curve, anchor: Curve) -> BdQuality:
    """Mean difference of quality over the range of log rate that both curves have.

    As in `bd_rate`, the curves are their Pareto points and are never extrapolated.
    """
    ours, theirs = ((curve.log_rate, curve.quality) for curve in (codec, anchor))
    return BdQuality(*_mean_difference(ours, theirs, pchip_integral))


def _mean_difference(
    codec: tuple[Array, Array], anchor: tuple[Array, Array], integral: Integral
) -> tuple[Array, Array, Array, Array]:
    """Mean of y of the codec minus that of the anchor over the range of x that both have, of
    (x, y) [..., points]; the overlap of the two ranges, and the ends of what they share, [...]."""
    if min(codec[0].shape[-1], anchor[0].shape[-1]) < 2:
        none = np.full(codec[0].shape[:-1], np.nan)
        return none, np.zeros_like(none), none, none
    starts = [x[..., 0] for x, _ in (codec, anchor)]
    ends = [np.fmax.reduce(x, axis=-1) for x, _ in (codec, anchor)]
    low, high = np.maximum(*starts), np.minimum(*ends)
    shared = high > low  # never of a curve with a single point
    low, high = np.where(shared, low, np.nan), np.where(shared, high, np.nan)
    with np.errstate(invalid="ignore"):
        areas = [integral(x, y, low, high) for x, y in (codec, anchor)]
    overlap = (high - low) / (np.maximum(*ends) - np.minimum(*starts))
    return (areas[0] - areas[1]) / (high - low), np.where(shared, overlap, 0.0), low, high


def quality_at(curve: Curve, kbps: Array, highest: Array) -> Array:
    """Quality [..., rates] at `kbps` [rates], by PCHIP over log rate; NaN outside the points.

    The points reach up to `highest` [...] kbps. From the last Pareto point to there more rate
    brings nothing, and the quality is that of the last Pareto point.
    """
    x, y = curve
    at = np.log(kbps)
    quality = pchip(x, y, np.broadcast_to(at, (*x.shape[:-1], len(at))))
    last = np.fmax.reduce(x, axis=-1, initial=-np.inf)[..., None]
    best = np.fmax.reduce(y, axis=-1, initial=-np.inf)[..., None]
    beyond = (at > last) & (kbps <= np.asarray(highest)[..., None]) & (x.shape[-1] >= 2)
    return np.where(beyond, best, quality)


def pchip(x: Array, y: Array, at: Array) -> Array:
    """The PCHIP interpolant of each row at `at` [..., n], NaN outside the points.

    Rows of `x` and `y` [..., points] are as in `pchip_slopes`; one of fewer than two points gives
    NaN.
    """
    if x.shape[-1] < 2:
        return np.full(at.shape, np.nan)
    slopes = pchip_slopes(x, y)
    last = np.isfinite(x).sum(axis=-1, keepdims=True) - 1
    start = (x[..., None, :] <= at[..., None]).sum(axis=-1) - 1
    start = np.clip(start, 0, np.maximum(last - 1, 0))
    (x0, x1), (y0, y1), (slope0, slope1) = (
        [np.take_along_axis(values, start + side, -1) for side in (0, 1)]
        for values in (x, y, slopes)
    )
    step, t = x1 - x0, (at - x0) / (x1 - x0)
    values = (
        y0 * (1 + 2 * t) * (1 - t) ** 2
        + y1 * t**2 * (3 - 2 * t)
        + step * (slope0 * t * (1 - t) ** 2 - slope1 * t**2 * (1 - t))
    )
    return np.where((t >= 0) & (t <= 1), values, np.nan)


def bd_rate_table(
    scores: pd.DataFrame,
    codecs: Sequence[str],
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """BD-rate and BD-quality of `config.codec` against every other codec, by test set and metric.

    `bd_rate` is NaN, and `flag` says why, below `config.min_overlap` of the quality ranges; so is
    `bd_quality`, in units of the metric, with `quality_flag`, below as much of the ranges of log
    rate (`rate_overlap`; the shared range in kbps is `rate_low` to `rate_high`). Both codecs see
    the same resamples of the speakers.
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
            keys = {"test_set": test_set, "metric": metric}
            keys |= {"codec": config.codec, "anchor": anchor}
            rows.append(keys | _comparison(metric, ours, theirs, resamples, config.min_overlap))
    columns = ["test_set", "metric", "codec", "anchor", "points", "anchor_points", "bd_rate"]
    columns += ["bd_rate_low", "bd_rate_high", "bd_rate_akima", "overlap"]
    columns += ["quality_low", "quality_high", "flag"]
    columns += ["bd_quality", "bd_quality_low", "bd_quality_high", "rate_overlap"]
    columns += ["rate_low", "rate_high", "quality_flag"]
    return pd.DataFrame(rows, columns=columns)


def _comparison(
    metric: str, ours: Curve, theirs: Curve, resamples: Resamples, least: float
) -> dict[str, object]:
    """A row of `bd_rate_table` without its keys, of the curves of all resamples."""
    rates, qualities = bd_rate(ours, theirs), bd_quality(ours, theirs)
    rate, quality = ([values[0] for values in found] for found in (rates, qualities))
    our_points, their_points = _points(ours), _points(theirs)
    ends = [_signed(metric, end) for end in rate[2:]]
    row: dict[str, object] = {
        "points": len(our_points.quality),
        "anchor_points": len(their_points.quality),
        "overlap": rate[1],
        "quality_low": min(ends),
        "quality_high": max(ends),
        "flag": _flag(rate[1], our_points, their_points, least),
        "rate_overlap": quality[1],
        "rate_low": np.exp(quality[2]),
        "rate_high": np.exp(quality[3]),
        "quality_flag": _flag(quality[1], our_points, their_points, least),
    }
    for name in ("bd_rate", "bd_rate_low", "bd_rate_high", "bd_rate_akima"):
        row[name] = np.nan
    for name in ("bd_quality", "bd_quality_low", "bd_quality_high"):
        row[name] = np.nan
    if row["flag"] == "ok":
        low, high = interval(rates.percent, resamples)
        akima = bd_rate(our_points, their_points, akima_integral).percent
        row |= {"bd_rate": rate[0], "bd_rate_akima": akima}
        row |= {"bd_rate_low": float(low), "bd_rate_high": float(high)}
    if row["quality_flag"] == "ok":
        values = _signed(metric, qualities.quality)
        low, high = interval(values, resamples)
        row |= {"bd_quality": values[0]}
        row |= {"bd_quality_low": float(low), "bd_quality_high": float(high)}
    return row


def pair_table(
    scores: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """The first codec of each pair against the second; columns of `bd_rate_table`."""
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
    """Means of the BD-rates and BD-qualities of `bd` over test sets and the anchors of each of
    `groups`.

    Columns group, metric, compared (pairs of codecs, on a test set each), bd_rate and bd_quality,
    rates and qualities (how many each mean is over). Plain means, as they are commonly reported.
    """
    rows = []
    for (name, anchors), metric in product(groups.items(), bd["metric"].unique()):
        compared = bd[bd["anchor"].isin(list(anchors)) & (bd["metric"] == metric)]
        if len(compared):
            rates = compared.loc[compared["flag"] == "ok", "bd_rate"]
            qualities = compared.loc[compared["quality_flag"] == "ok", "bd_quality"]
            row = {"group": name, "metric": metric, "compared": len(compared)}
            row |= {"bd_rate": rates.mean(), "rates": len(rates)}
            rows.append(row | {"bd_quality": qualities.mean(), "qualities": len(qualities)})
    columns = ["group", "metric", "compared", "bd_rate", "rates", "bd_quality", "qualities"]
    return pd.DataFrame(rows, columns=columns)


def equal_rate_table(
    scores: pd.DataFrame,
    codecs: Sequence[str],
    test_sets: Sequence[str],
    metrics: Sequence[str],
    config: Report,
) -> pd.DataFrame:
    """`config.codec` at the rates and at the qualities of each codec that has `FEW_POINTS` or
    fewer: a row for each test set, metric, codec (`anchor`) and point.

    `codec_quality` minus `anchor_quality` is `difference`, with its interval, both over the
    utterances that the other codec has. Where that spends more than `config.codec` ever does, the
    best of `config.codec` counts, at `codec_kbps`; below its lowest rate all is NaN.
    `rate_difference` is the rate of `config.codec` for the same quality above that of the other,
    in percent, with its interval: NaN above its best quality, and where it is better than the
    other at any rate, its lowest rate counts.
    """
    rows = []
    for test_set in test_sets:
        of_set = scores[scores["test_set"] == test_set]
        ours = of_set[of_set["codec"] == config.codec]
        for anchor in codecs:
            theirs = of_set[(of_set["codec"] == anchor) & of_set["kbps"].notna()]
            few = 0 < theirs["point"].nunique() <= FEW_POINTS
            shared = ours[ours["utterance"].isin(theirs["utterance"])]
            if anchor == config.codec or shared.empty or not few:
                continue
            speakers = sorted(theirs["speaker"].unique())
            resamples = resample_speakers(len(speakers), config.bootstrap, config.seed)
            mine, other = (
                codec_points(table, metrics, speakers, resamples) for table in (shared, theirs)
            )
            highest = np.nanmax(mine.kbps, axis=-1)
            for metric in metrics:
                curves, heard = _curves(mine, metric), other.quality[metric]
                best = np.fmax.reduce(curves.quality, axis=-1)
                more: Array = 100.0 * (_rate_for(curves, _signed(metric, heard)) / other.kbps - 1)
                for number, point in enumerate(other.names):
                    rate = float(other.kbps[0, number])
                    kbps = min(rate, float(highest[0]))
                    # A codec's rate is its own in each resample, ours follows the sample's.
                    quality = quality_at(curves, np.array([kbps]), highest)[:, 0]
                    # Of a resample that costs less than the sample the best stands likewise.
                    quality = _signed(metric, np.where(kbps > highest, best, quality))
                    row = [test_set, metric, config.codec, anchor, point, rate, kbps]
                    row += [heard[0, number], quality[0]]
                    row += _given(quality - heard[:, number], resamples)
                    rows.append([*row, *_given(more[:, number], resamples)])
    columns = ["test_set", "metric", "codec", "anchor", "point", "kbps", "codec_kbps"]
    columns += ["anchor_quality", "codec_quality", "difference", "difference_low"]
    columns += ["difference_high", "rate_difference", "rate_difference_low"]
    return pd.DataFrame(rows, columns=[*columns, "rate_difference_high"])


def _given(values: Array, resamples: Resamples) -> list[float]:
    """The first of values [1 + distinct] and its interval; all NaN where it is."""
    if not np.isfinite(values[0]):
        return [np.nan] * 3
    return [float(values[0]), *map(float, interval(values, resamples))]


def mean_rate(percent: Sequence[float]) -> float:
    """Rates above others, in percent, averaged as logarithms, as a BD-rate does; NaN if one is."""
    return 100.0 * float(np.expm1(np.log1p(np.asarray(percent, float) / 100).mean()))


def _rate_for(curve: Curve, quality: Array) -> Array:
    """The rate [..., n] in kbps that a codec needs for `quality` [..., n]: its lowest where that is
    better, NaN above its best."""
    if not curve.quality.shape[-1]:
        return np.full(quality.shape, np.nan)
    rate = pchip(curve.quality, curve.log_rate, quality)
    return np.exp(np.where(quality < curve.quality[..., :1], curve.log_rate[..., :1], rate))


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


def _flag(overlap: float, codec: Curve, anchor: Curve, min_overlap: float) -> str:
    if min(len(codec.quality), len(anchor.quality)) < 2:
        return "fewer than two points"
    if not overlap:
        return "no overlap"
    return "low overlap" if overlap < min_overlap else "ok"
